SELECT
    destination,
    count(*) FILTER (WHERE dead_at IS NULL),
    count(*) FILTER (WHERE dead_at IS NULL AND attempts > 0),
    count(dead_at),
    extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE dead_at IS NULL))::double precision,
    (array_agg(last_error ORDER BY outbox_id DESC) FILTER (WHERE last_error IS NOT NULL))[1]
FROM devices.outbox
GROUP BY destination
ORDER BY destination
