-- The same content at the same path is the same file; one that was given up as changed waits again.
WITH seen AS MATERIALIZED (
    SELECT f.file_id, t.modified_ns
    FROM unnest(%(paths)s::text[], %(sha256s)s::text[], %(modified)s::bigint[])
        AS t (path, sha256, modified_ns)
    JOIN devices.files AS f USING (path, sha256)
    WHERE f.modified_ns <> t.modified_ns OR f.reason LIKE 'SourceChanged:%%'
    -- In the order in which writers lock them.
    ORDER BY f.file_id
    FOR NO KEY UPDATE OF f
)
UPDATE devices.files AS f
SET modified_ns = seen.modified_ns,
    state = CASE WHEN f.reason LIKE 'SourceChanged:%%' THEN 'waiting' ELSE f.state END,
    finished_at = CASE WHEN f.reason LIKE 'SourceChanged:%%' THEN NULL ELSE f.finished_at END,
    reason = CASE WHEN f.reason LIKE 'SourceChanged:%%' THEN NULL ELSE f.reason END
FROM seen
WHERE f.file_id = seen.file_id
