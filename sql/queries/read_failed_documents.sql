SELECT
    source,
    path,
    arrival_day,
    outcome,
    coalesce(reason, '') AS reason,
    size_bytes,
    attempts,
    finished_at
FROM documents.files
WHERE state = 'failed'
  AND (%(source)s::text IS NULL OR source = %(source)s)
  AND (%(day)s::date IS NULL OR arrival_day = %(day)s)
ORDER BY source, arrival_day, path
