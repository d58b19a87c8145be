-- Batches of devices that ended within the last seconds, by shard; the last row is all of them.
-- Rows of an attempt that was rolled back are errors: they come again in other batches.
SELECT
    shard,
    count(*)::int AS batches,
    coalesce(sum(row_count), 0)::bigint AS records,
    coalesce(sum(row_count - rejected) FILTER (WHERE is_committed), 0)::bigint AS success,
    coalesce(sum(duplicate) FILTER (WHERE is_committed), 0)::bigint AS duplicates,
    coalesce(sum(CASE WHEN is_committed THEN rejected ELSE row_count END), 0)::bigint AS errors,
    coalesce(avg(seconds), 0) AS avg_seconds,
    coalesce(max(seconds), 0) AS max_seconds,
    coalesce(min(seconds), 0) AS min_seconds,
    coalesce(avg(rows_per_second) FILTER (WHERE is_committed), 0) AS avg_throughput,
    coalesce(max(rows_per_second) FILTER (WHERE is_committed), 0) AS max_throughput
FROM ops.batch_metrics
WHERE target = %(target)s
  AND finished_at >= clock_timestamp() - make_interval(secs => %(seconds)s)
GROUP BY GROUPING SETS ((shard), ())
ORDER BY shard NULLS LAST
