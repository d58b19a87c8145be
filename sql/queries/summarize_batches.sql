-- Batches of one target that ended within the last seconds, by shard; the last row is all of them.
SELECT
    shard,
    count(*) AS batches,
    count(*) FILTER (WHERE NOT is_committed) AS rolled_back,
    coalesce(sum(row_count) FILTER (WHERE is_committed), 0)::bigint AS row_count,
    coalesce(sum(duplicate) FILTER (WHERE is_committed), 0)::bigint AS duplicate,
    coalesce(sum(rejected) FILTER (WHERE is_committed), 0)::bigint AS rejected,
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY seconds) AS seconds,
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY database_seconds) AS database_seconds,
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY waited_seconds) AS waited_seconds,
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY rows_per_second) FILTER (WHERE is_committed) AS rows_per_second
FROM ops.batch_metrics
WHERE target = %(target)s
  AND finished_at >= clock_timestamp() - make_interval(secs => %(seconds)s)
GROUP BY GROUPING SETS ((shard), ())
ORDER BY shard NULLS LAST
