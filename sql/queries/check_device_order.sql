-- Of some devices that loads have written: is their latest state that of their newest record?
WITH sample AS (
    SELECT l.device_sn, l.measured_at, l.heart_rate_bpm, l.spo2_pct, l.temperature_celsius,
           l.systolic_mmhg, l.diastolic_mmhg, l.steps, l.sleep_minutes, l.load_id
    FROM devices.latest AS l
    WHERE l.load_id = ANY (%(load_ids)s)
    ORDER BY hashtext(l.device_sn || %(seed)s)
    LIMIT %(devices)s
), newest AS (
    SELECT s.device_sn, s IS DISTINCT FROM r AS is_behind
    FROM sample AS s
    LEFT JOIN LATERAL (
        SELECT r.device_sn, r.measured_at, r.heart_rate_bpm, r.spo2_pct, r.temperature_celsius,
               r.systolic_mmhg, r.diastolic_mmhg, r.steps, r.sleep_minutes, r.load_id
        FROM devices.records AS r
        WHERE r.device_sn = s.device_sn
        ORDER BY r.measured_at DESC
        LIMIT 1
    ) AS r ON true
)
SELECT
    count(*) AS devices,
    count(*) FILTER (WHERE is_behind) AS behind,
    coalesce(min(device_sn) FILTER (WHERE is_behind), '') AS example
FROM newest
