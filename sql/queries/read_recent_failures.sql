-- The newest loads that failed, and whether a later load of the same window ended well.
SELECT l.load_id, l.target, l.scope, l.window_key, l.source_file,
       coalesce(l.error_class, '') AS error_class,
       coalesce(nullif(l.error_message, ''), l.reason, '') AS message,
       l.rows_rejected, l.run_id,
       -- Backfills of several assets share their runs.
       (SELECT max(r.backfill_id)
        FROM ops.backfill_runs AS r
        JOIN ops.backfills AS b ON b.backfill_id = r.backfill_id
        WHERE r.run_id = l.run_id AND b.target = l.target AND b.scope = l.scope) AS backfill_id,
       coalesce(l.finished_at, l.started_at) AS happened_at,
       EXISTS (
           SELECT FROM ops.loads AS later
           WHERE later.resource = l.resource AND later.load_id > l.load_id
             AND later.state IN ('success', 'skipped')) AS is_mended
FROM ops.loads AS l
WHERE l.state = 'failed'
ORDER BY l.load_id DESC
LIMIT %(limit)s
