-- The versions that are about to be replaced, as they are now. The rows are locked, so that what
-- is kept is what the update replaces, whoever else writes.
INSERT INTO {history} ({kept_columns}, known_from, known_to, superseded_by)
SELECT {stored_columns},
       coalesce((SELECT l.known_at FROM ops.loads AS l WHERE l.load_id = t.load_id), '-infinity'),
       now(),
       s.load_id
FROM {staging} AS s
JOIN {target_rows} ON {match}
WHERE NOT ({is_same})
FOR NO KEY UPDATE OF t
