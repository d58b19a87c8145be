-- Some pieces of some documents, others each time (by seed), cut out of the text again.
WITH sample AS (
    SELECT d.document_id, d.path
    FROM documents.documents AS d
    WHERE d.source = %(source)s
      AND d.arrival_day = ANY (%(days)s)
      AND d.is_current
      AND d.chunk_count > 0
      -- The text of a file that is gone may be deleted by policy.
      AND d.deleted_at IS NULL
    ORDER BY md5(d.document_id || %(seed)s)
    LIMIT %(documents)s
),
pieces AS (
    SELECT
        s.path,
        c.*,
        row_number() OVER (PARTITION BY c.document_id ORDER BY md5(c.ordinal || %(seed)s)) AS place
    FROM sample AS s
    JOIN documents.chunks AS c ON c.document_id = s.document_id
),
cut AS (
    SELECT
        p.path,
        p.ordinal,
        substr(t.text, p.start_offset + 1, p.end_offset - p.start_offset)
            IS NOT DISTINCT FROM p.text AS is_right
    FROM pieces AS p
    LEFT JOIN documents.texts AS t ON t.document_id = p.document_id
    WHERE p.place <= %(chunks)s
)
SELECT
    (SELECT count(*) FROM sample),
    count(*),
    count(*) FILTER (WHERE NOT is_right),
    min(path || ', piece ' || ordinal) FILTER (WHERE NOT is_right)
FROM cut
