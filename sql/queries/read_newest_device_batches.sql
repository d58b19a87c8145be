-- The newest batches of devices in the fields of the original service, oldest first.
SELECT
    batch_id,
    shard AS shard_id,
    row_count AS batch_size,
    seconds AS processing_time,
    database_seconds AS db_insert_time,
    outbox_seconds AS redis_update_time,
    alert_seconds AS alert_check_time,
    CASE WHEN is_committed THEN row_count - rejected ELSE 0 END AS success_count,
    duplicate AS duplicate_count,
    CASE WHEN is_committed THEN rejected ELSE row_count END AS error_count,
    finished_at AS timestamp,
    success_ratio AS success_rate,
    rows_per_second AS throughput
FROM (
    SELECT *
    FROM ops.batch_metrics
    WHERE target = %(target)s
      AND (%(shard)s::smallint IS NULL OR shard = %(shard)s)
    ORDER BY batch_id DESC
    LIMIT %(limit)s
) AS newest
ORDER BY batch_id
