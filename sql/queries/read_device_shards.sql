-- Every shard of the map: what waits for it, who writes it, how its last load ended.
WITH waiting AS (
    SELECT m.shard, count(*) AS row_count, min(i.received_at) AS oldest_at
    FROM devices.inbox AS i
    JOIN devices.shard_map AS m USING (bucket)
    GROUP BY m.shard
)
SELECT
    m.shard,
    count(*) AS buckets,
    coalesce(max(w.row_count), 0) AS waiting_rows,
    EXTRACT(epoch FROM clock_timestamp() - max(w.oldest_at))::double precision AS oldest_seconds,
    (
        SELECT l.holder
        FROM ops.leases AS l
        WHERE l.resource = %(target)s || '/shard-' || m.shard AND l.expires_at >= clock_timestamp()
    ) AS holder,
    (
        SELECT l.error_message
        FROM ops.loads AS l
        WHERE l.resource = %(target)s || '/shard-' || m.shard
        ORDER BY l.load_id DESC
        LIMIT 1
    ) AS last_error
FROM devices.shard_map AS m
LEFT JOIN waiting AS w ON w.shard = m.shard
GROUP BY m.shard
ORDER BY m.shard
