-- Rows of each loaded day beside those of the stored day before it.
SELECT w.window_key,
       w.row_count,
       (SELECT p.window_key FROM ops.windows AS p
        WHERE p.target = w.target AND p.scope = w.scope AND p.starts_at < w.starts_at
        ORDER BY p.starts_at DESC LIMIT 1) AS previous_key,
       (SELECT p.row_count FROM ops.windows AS p
        WHERE p.target = w.target AND p.scope = w.scope AND p.starts_at < w.starts_at
        ORDER BY p.starts_at DESC LIMIT 1) AS previous_rows
FROM ops.windows AS w
WHERE w.target = %(target)s AND w.scope = %(scope)s AND w.window_key = ANY (%(window_keys)s)
ORDER BY w.window_key
