-- The oldest rows of a shard, in the order in which they were accepted; gone with its commit.
WITH taken AS (
    DELETE FROM devices.inbox
    WHERE inbox_id IN (
        SELECT inbox_id
        FROM devices.inbox
        WHERE bucket = ANY (%(buckets)s)
        ORDER BY inbox_id
        LIMIT %(limit_rows)s
    )
    RETURNING inbox_id, body, received_at
)
SELECT
    inbox_id,
    body,
    EXTRACT(epoch FROM clock_timestamp() - min(received_at) OVER ())::double precision AS waited_seconds
FROM taken
ORDER BY inbox_id
