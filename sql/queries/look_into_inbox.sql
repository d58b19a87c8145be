-- Whether a batch is worth taking: rows that wait, counted up to the aim, and how long the oldest has.
SELECT
    count(*),
    coalesce(EXTRACT(epoch FROM clock_timestamp() - min(received_at)), 0)::double precision
FROM (
    SELECT received_at
    FROM devices.inbox
    WHERE bucket = ANY (%(buckets)s)
    ORDER BY inbox_id
    LIMIT %(limit_rows)s
) AS waiting
