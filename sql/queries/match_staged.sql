-- Staged rows, those whose key the target has, and those of them that say the same: value by value,
-- or by key for contracts that append.
SELECT s.load_id,
       count(*) AS staged,
       count(t.{first_key}) AS matched,
       count(*) FILTER (WHERE t.{first_key} IS NOT NULL AND {is_same}) AS equal
FROM {staging} AS s
LEFT JOIN {target_rows} ON {match}
GROUP BY s.load_id
