-- Corrected rows whose key the target has with other values: written by a newer load than the one
-- that read the row, or from another row of the same file.
SELECT s.letter_id, bool_or(t.load_id > s.load_id) AS has_moved_on
FROM {staging} AS s
JOIN {target} AS t ON {key_match}
WHERE NOT ({is_same})
  AND (t.load_id > s.load_id OR ({is_same_file} AND NOT ({is_same_place})))
GROUP BY s.letter_id
ORDER BY s.letter_id
