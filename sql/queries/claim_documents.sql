-- What of a day has to be read, marked with the load that does it. What a load that died had marked
-- is marked again: one load at a time has the lease of the day.
UPDATE documents.files AS f
SET claimed_by = %(load_id)s,
    state = 'waiting',
    outcome = CASE WHEN f.outcome = 'refused' THEN f.outcome END
FROM (
    SELECT c.path
    FROM documents.files AS c
    LEFT JOIN documents.documents AS d ON d.document_id = c.document_id
    WHERE c.source = %(source)s
      AND c.arrival_day = %(day)s
      -- A file may have moved to this day while the load of another day still deals with it.
      AND NOT EXISTS (
          SELECT FROM ops.loads AS l
          WHERE l.load_id = c.claimed_by AND l.state = 'running' AND l.load_id <> %(load_id)s)
      AND (
          c.state = 'waiting'
          -- The folder or its store was at fault, not the file.
          OR (c.state = 'failed' AND c.outcome IN ('unreadable', 'vanished'))
          OR (c.state = 'failed' AND (%(retry_failed)s OR %(force)s))
          OR (c.state = 'done' AND %(force)s)
          OR (c.state = 'done' AND %(reprocess)s
              AND d.fingerprint IS DISTINCT FROM %(fingerprints)s::jsonb ->> d.media_type)
      )
) AS todo
WHERE f.source = %(source)s AND f.path = todo.path
