-- The same percentiles as one constant: a cast array is written in another way by each dump.
CREATE OR REPLACE VIEW ops.batch_metrics_hourly AS
SELECT
    target,
    shard,
    date_trunc('hour', finished_at) AS hour,
    count(*) AS batches,
    count(*) FILTER (WHERE NOT is_committed) AS rolled_back,
    coalesce(sum(row_count) FILTER (WHERE is_committed), 0)::bigint AS row_count,
    coalesce(sum(duplicate) FILTER (WHERE is_committed), 0)::bigint AS duplicate,
    coalesce(sum(rejected) FILTER (WHERE is_committed), 0)::bigint AS rejected,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY seconds) AS seconds_p50_p95_p99,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY database_seconds) AS database_seconds_p50_p95_p99,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY waited_seconds) AS waited_seconds_p50_p95_p99,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY rows_per_second) FILTER (WHERE is_committed) AS rows_per_second_p50_p95_p99
FROM ops.batch_metrics
GROUP BY target, shard, date_trunc('hour', finished_at);
