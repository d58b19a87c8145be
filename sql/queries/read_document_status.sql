-- Files of each source by state and outcome; pieces of text are counted where they are searched.
SELECT
    f.source,
    f.state,
    coalesce(f.outcome, '') AS outcome,
    count(*) AS files,
    coalesce(sum(d.chunk_count), 0)::bigint AS chunks
FROM documents.files AS f
LEFT JOIN documents.documents AS d
  ON d.document_id = f.document_id AND d.is_current AND d.deleted_at IS NULL
WHERE (%(source)s::text IS NULL OR f.source = %(source)s)
  AND (%(day)s::date IS NULL OR f.arrival_day = %(day)s)
GROUP BY f.source, f.state, 3
ORDER BY f.source, f.state, 3
