-- The same content at the same path is the same file; one that was given up as changed waits again.
INSERT INTO devices.files AS f (path, sha256, size_bytes, modified_ns)
VALUES (%s, %s, %s, %s)
ON CONFLICT (path, sha256) DO UPDATE
SET modified_ns = excluded.modified_ns,
    state = CASE WHEN f.reason LIKE 'SourceChanged:%%' THEN 'waiting' ELSE f.state END,
    finished_at = CASE WHEN f.reason LIKE 'SourceChanged:%%' THEN NULL ELSE f.finished_at END,
    reason = CASE WHEN f.reason LIKE 'SourceChanged:%%' THEN NULL ELSE f.reason END
