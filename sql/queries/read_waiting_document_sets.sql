-- The sum does not depend on the order in which rows are met.
SELECT
    arrival_day AS day,
    count(*) FILTER (WHERE state = 'waiting') AS waiting,
    count(*) FILTER (WHERE state = 'growing') AS growing,
    extract(epoch FROM clock_timestamp() - min(looked_at) FILTER (WHERE state = 'waiting'))::float8
        AS waiting_seconds,
    md5(sum(hashtextextended(path || '/' || size_bytes || '/' || modified_ns, 0)::numeric)
        FILTER (WHERE state = 'waiting')::text) AS fingerprint
FROM documents.files
WHERE source = %(source)s AND state IN ('growing', 'waiting')
GROUP BY arrival_day
HAVING count(*) FILTER (WHERE state = 'waiting') > 0
ORDER BY arrival_day
