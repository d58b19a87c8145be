-- Batches of some loads by shard, the last row all of them: percentiles, and their course.
SELECT
    shard,
    count(*) FILTER (WHERE is_committed) AS batches,
    count(*) FILTER (WHERE NOT is_committed) AS rolled_back,
    coalesce(sum(row_count) FILTER (WHERE is_committed), 0)::bigint AS row_count,
    coalesce(percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE is_committed), ARRAY[0, 0]) AS seconds,
    coalesce(array_agg(rows_per_second ORDER BY batch_id) FILTER (WHERE is_committed), '{}') AS course
FROM ops.batch_metrics
WHERE load_id = ANY (%(load_ids)s)
GROUP BY GROUPING SETS ((shard), ())
ORDER BY shard NULLS LAST
