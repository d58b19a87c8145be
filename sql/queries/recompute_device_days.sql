-- Days in which a record was corrected, once more from all their records.
WITH corrected AS MATERIALIZED (
    SELECT DISTINCT device_sn, day FROM pg_temp.written_device_records WHERE NOT is_new
)
INSERT INTO devices.daily_rollups AS d (
    device_sn, day,
    record_count, heart_rate_sum, heart_rate_count, heart_rate_min, heart_rate_max, spo2_sum,
    spo2_count, spo2_min, temperature_sum, temperature_count, temperature_max, systolic_sum,
    systolic_count, systolic_max, diastolic_sum, diastolic_count, diastolic_max, steps,
    sleep_minutes)
SELECT c.device_sn, c.day, rolled.*
FROM corrected AS c
CROSS JOIN LATERAL (
    SELECT
        count(*), coalesce(sum(r.heart_rate_bpm), 0), count(r.heart_rate_bpm),
        min(r.heart_rate_bpm), max(r.heart_rate_bpm), coalesce(sum(r.spo2_pct), 0),
        count(r.spo2_pct), min(r.spo2_pct), coalesce(sum(r.temperature_celsius), 0),
        count(r.temperature_celsius), max(r.temperature_celsius),
        coalesce(sum(r.systolic_mmhg), 0), count(r.systolic_mmhg), max(r.systolic_mmhg),
        coalesce(sum(r.diastolic_mmhg), 0), count(r.diastolic_mmhg), max(r.diastolic_mmhg),
        max(r.steps), max(r.sleep_minutes)
    FROM devices.records AS r
    WHERE r.device_sn = c.device_sn
      AND r.measured_at >= c.day::timestamp AT TIME ZONE 'UTC'
      AND r.measured_at < (c.day + 1)::timestamp AT TIME ZONE 'UTC'
) AS rolled
ORDER BY c.device_sn, c.day
ON CONFLICT (device_sn, day) DO UPDATE
SET
    record_count = excluded.record_count,
    heart_rate_sum = excluded.heart_rate_sum,
    heart_rate_count = excluded.heart_rate_count,
    heart_rate_min = excluded.heart_rate_min,
    heart_rate_max = excluded.heart_rate_max,
    spo2_sum = excluded.spo2_sum,
    spo2_count = excluded.spo2_count,
    spo2_min = excluded.spo2_min,
    temperature_sum = excluded.temperature_sum,
    temperature_count = excluded.temperature_count,
    temperature_max = excluded.temperature_max,
    systolic_sum = excluded.systolic_sum,
    systolic_count = excluded.systolic_count,
    systolic_max = excluded.systolic_max,
    diastolic_sum = excluded.diastolic_sum,
    diastolic_count = excluded.diastolic_count,
    diastolic_max = excluded.diastolic_max,
    steps = excluded.steps,
    sleep_minutes = excluded.sleep_minutes
