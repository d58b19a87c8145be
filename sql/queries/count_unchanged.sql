-- Staged rows that the target already has: value by value, or by key for contracts that append.
SELECT s.load_id, count(*)
FROM {staging} AS s
JOIN {target} AS t ON {key_match}
WHERE {scope_match} AND {bounds_match} AND {is_same}
GROUP BY s.load_id
