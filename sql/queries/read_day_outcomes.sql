-- The newest load of each window since a load, one row per window.
SELECT DISTINCT ON (window_key)
    window_key,
    state,
    coalesce(reason, '') AS reason,
    coalesce(error_message, '') AS message,
    rows_read,
    rows_inserted,
    rows_updated,
    rows_unchanged,
    rows_duplicate,
    rows_rejected,
    rows_skipped,
    rows_deleted
FROM ops.loads
WHERE target = %(target)s
  AND load_id > %(after_load_id)s
ORDER BY window_key, load_id DESC
