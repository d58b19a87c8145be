-- Staged rows whose key the target has.
SELECT s.load_id, count(*)
FROM {staging} AS s
JOIN {target} AS t ON {key_match}
GROUP BY s.load_id
