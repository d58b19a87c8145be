-- Staged rows whose key the target has.
SELECT count(*)
FROM {staging} AS s
JOIN {target} AS t ON {key_match}
