-- Devices that sent within the time after which they count as out of use, and then stopped; the
-- longest silence first. silent_count is of all of them, however few are returned.
SELECT
    device_sn,
    measured_at,
    EXTRACT(epoch FROM %(now)s - measured_at)::double precision AS silent_seconds,
    count(*) OVER () AS silent_count
FROM devices.latest
WHERE measured_at < %(now)s::timestamptz - make_interval(secs => %(silent_seconds)s)
    AND measured_at >= %(now)s::timestamptz - make_interval(days => %(forget_days)s)
ORDER BY measured_at, device_sn
LIMIT %(limit)s
