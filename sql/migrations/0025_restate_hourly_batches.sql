-- Both at once: over two relations, and with the percentiles as one constant. Every server, and every
-- dump, then writes the view down in the same way.
CREATE OR REPLACE VIEW ops.batch_metrics_hourly AS
SELECT
    b.target,
    b.shard,
    h.hour,
    count(*) AS batches,
    count(*) FILTER (WHERE NOT b.is_committed) AS rolled_back,
    coalesce(sum(b.row_count) FILTER (WHERE b.is_committed), 0)::bigint AS row_count,
    coalesce(sum(b.duplicate) FILTER (WHERE b.is_committed), 0)::bigint AS duplicate,
    coalesce(sum(b.rejected) FILTER (WHERE b.is_committed), 0)::bigint AS rejected,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY b.seconds) AS seconds_p50_p95_p99,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY b.database_seconds) AS database_seconds_p50_p95_p99,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY b.waited_seconds) AS waited_seconds_p50_p95_p99,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY b.rows_per_second) FILTER (WHERE b.is_committed) AS rows_per_second_p50_p95_p99
FROM ops.batch_metrics AS b
CROSS JOIN LATERAL (SELECT date_trunc('hour', b.finished_at) AS hour) AS h
GROUP BY b.target, b.shard, h.hour;
