-- Days of some devices that loads have written, rolled up once more and compared with what is kept.
WITH sample AS (
    SELECT l.device_sn
    FROM devices.latest AS l
    WHERE l.load_id = ANY (%(load_ids)s)
    ORDER BY hashtext(l.device_sn || %(seed)s)
    LIMIT %(devices)s
), counted AS (
    SELECT r.device_sn, (r.measured_at AT TIME ZONE 'UTC')::date AS day, count(*) AS record_count,
           coalesce(sum(r.heart_rate_bpm), 0) AS heart_rate_sum,
           count(r.heart_rate_bpm) AS heart_rate_count,
           min(r.heart_rate_bpm) AS heart_rate_min, max(r.heart_rate_bpm) AS heart_rate_max,
           coalesce(sum(r.spo2_pct), 0) AS spo2_sum, count(r.spo2_pct) AS spo2_count,
           min(r.spo2_pct) AS spo2_min,
           coalesce(sum(r.temperature_celsius), 0) AS temperature_sum,
           count(r.temperature_celsius) AS temperature_count,
           max(r.temperature_celsius) AS temperature_max,
           coalesce(sum(r.systolic_mmhg), 0) AS systolic_sum,
           count(r.systolic_mmhg) AS systolic_count, max(r.systolic_mmhg) AS systolic_max,
           coalesce(sum(r.diastolic_mmhg), 0) AS diastolic_sum,
           count(r.diastolic_mmhg) AS diastolic_count, max(r.diastolic_mmhg) AS diastolic_max,
           max(r.steps) AS steps, max(r.sleep_minutes) AS sleep_minutes
    FROM sample
    JOIN devices.records AS r USING (device_sn)
    GROUP BY 1, 2
), kept AS (
    SELECT d.* FROM sample JOIN devices.daily_rollups AS d USING (device_sn)
)
SELECT
    count(*) AS days,
    count(*) FILTER (WHERE c IS DISTINCT FROM k) AS differing,
    coalesce(
        min(coalesce(c.device_sn, k.device_sn) || ' on ' || coalesce(c.day, k.day))
        FILTER (WHERE c IS DISTINCT FROM k), '') AS example
FROM counted AS c
FULL JOIN kept AS k ON k.device_sn = c.device_sn AND k.day = c.day
