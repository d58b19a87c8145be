-- What was committed beside Dagster since a batch: by the continuous mode, or from the command line.
-- The last two seconds are left for the next look: batches are not noted in the order of numbers.
SELECT
    coalesce(max(m.batch_id), 0) AS last_batch_id,
    count(*) AS batches,
    coalesce(sum(m.row_count), 0)::bigint AS rows_read,
    coalesce(sum(m.inserted), 0)::bigint AS rows_inserted,
    coalesce(sum(m.updated), 0)::bigint AS rows_updated,
    coalesce(sum(m.unchanged), 0)::bigint AS rows_unchanged,
    coalesce(sum(m.duplicate), 0)::bigint AS rows_duplicate,
    coalesce(sum(m.rejected), 0)::bigint AS rows_rejected,
    count(DISTINCT m.shard) AS shards,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY m.seconds) AS seconds,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY m.waited_seconds + m.seconds) AS visible_seconds,
    extract(epoch FROM max(m.finished_at) - min(m.finished_at))::double precision AS span_seconds,
    max(m.finished_at) AS newest_at
FROM ops.batch_metrics AS m
JOIN ops.loads AS l USING (load_id)
WHERE m.batch_id > %(after)s
  AND m.target = 'devices.records'
  AND m.is_committed
  AND m.finished_at < clock_timestamp() - INTERVAL '2 seconds'
  AND l.run_id IS NULL
