-- See count_missing_documents: the same files, marked as deleted, and their documents with them.
WITH gone AS (
    UPDATE documents.files AS f
    SET state = 'deleted',
        finished_at = clock_timestamp()
    WHERE f.source = %(source)s
      AND f.state <> 'deleted'
      AND translate(f.path, '/', chr(1)) COLLATE "C" > translate(%(after)s, '/', chr(1)) COLLATE "C"
      AND (%(up_to)s::text IS NULL
           OR translate(f.path, '/', chr(1)) COLLATE "C" <= translate(%(up_to)s, '/', chr(1)) COLLATE "C")
      AND NOT EXISTS (SELECT FROM document_listing AS l WHERE l.path = f.path)
      AND NOT EXISTS (
          SELECT FROM unnest(%(unlisted)s::text[]) AS u (folder)
          WHERE u.folder = '' OR starts_with(f.path, u.folder || '/'))
    RETURNING f.document_id, f.path
),
marked AS (
    UPDATE documents.documents AS d
    SET deleted_at = clock_timestamp()
    FROM gone
    WHERE d.document_id = gone.document_id AND d.deleted_at IS NULL
    RETURNING d.document_id
),
-- Nobody has to correct a file that is gone.
closed AS (
    UPDATE ops.dead_letters AS l
    SET state = 'superseded',
        resolved_at = clock_timestamp()
    FROM gone
    WHERE l.target = 'documents.documents'
      AND l.scope = %(source)s
      AND l.state = 'open'
      AND l.source_file = gone.path
),
without_chunks AS (
    DELETE FROM documents.chunks AS c
    USING marked
    WHERE c.document_id = marked.document_id AND %(removes)s
),
without_text AS (
    DELETE FROM documents.texts AS t
    USING marked
    WHERE t.document_id = marked.document_id AND %(removes)s
)
SELECT count(*) FROM gone
