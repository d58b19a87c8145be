-- After a replay the window is what its file says with the corrections: the file is still
-- recognised, and dead letters that are still open belong to the replay's ledger.
WITH owned AS (
    UPDATE ops.dead_letters
    SET load_id = %(load_id)s
    WHERE target = %(target)s
      AND scope = %(scope)s
      AND window_key = %(window_key)s
      AND state = 'open'
      AND load_id = %(former_load_id)s
)
UPDATE ops.windows
SET version = version + 1,
    published_version = published_version + 1,
    row_count = row_count + %(added_rows)s,
    content_hash = NULL,
    load_id = %(load_id)s,
    published_at = clock_timestamp()
WHERE target = %(target)s
  AND scope = %(scope)s
  AND window_key = %(window_key)s
