-- Corrected rows whose key the target has with other values, where rows do not say their place:
-- written by a newer load than the one that read the row, or by one that ended after the row was
-- first met. What was there before that is an older version, which the corrected row replaces.
SELECT s.letter_id, bool_or(t.load_id > s.load_id) AS has_moved_on
FROM {staging} AS s
JOIN {target} AS t ON {key_match}
JOIN ops.dead_letters AS d ON d.dead_letter_id = s.letter_id
LEFT JOIN ops.loads AS l ON l.load_id = t.load_id
WHERE NOT ({is_same})
  AND (t.load_id > s.load_id OR l.finished_at >= d.first_seen_at)
GROUP BY s.letter_id
ORDER BY s.letter_id
