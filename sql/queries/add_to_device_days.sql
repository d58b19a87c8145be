-- New records are added to the days they belong to. A day in which a record was corrected is
-- left to recompute_device_days: what it was before cannot be taken out of a minimum.
WITH corrected AS MATERIALIZED (
    SELECT DISTINCT device_sn, day FROM pg_temp.written_device_records WHERE NOT is_new
)
INSERT INTO devices.daily_rollups AS d (
    device_sn, day,
    record_count, heart_rate_sum, heart_rate_count, heart_rate_min, heart_rate_max, spo2_sum,
    spo2_count, spo2_min, temperature_sum, temperature_count, temperature_max, systolic_sum,
    systolic_count, systolic_max, diastolic_sum, diastolic_count, diastolic_max, steps,
    sleep_minutes)
SELECT
    w.device_sn, w.day,
    count(*), coalesce(sum(w.heart_rate_bpm), 0), count(w.heart_rate_bpm), min(w.heart_rate_bpm),
    max(w.heart_rate_bpm), coalesce(sum(w.spo2_pct), 0), count(w.spo2_pct), min(w.spo2_pct),
    coalesce(sum(w.temperature_celsius), 0), count(w.temperature_celsius),
    max(w.temperature_celsius), coalesce(sum(w.systolic_mmhg), 0), count(w.systolic_mmhg),
    max(w.systolic_mmhg), coalesce(sum(w.diastolic_mmhg), 0), count(w.diastolic_mmhg),
    max(w.diastolic_mmhg), max(w.steps), max(w.sleep_minutes)
FROM pg_temp.written_device_records AS w
WHERE NOT EXISTS (
    SELECT FROM corrected AS c WHERE c.device_sn = w.device_sn AND c.day = w.day)
GROUP BY w.device_sn, w.day
ORDER BY w.device_sn, w.day
ON CONFLICT (device_sn, day) DO UPDATE
SET
    record_count = d.record_count + excluded.record_count,
    heart_rate_sum = d.heart_rate_sum + excluded.heart_rate_sum,
    heart_rate_count = d.heart_rate_count + excluded.heart_rate_count,
    heart_rate_min = least(d.heart_rate_min, excluded.heart_rate_min),
    heart_rate_max = greatest(d.heart_rate_max, excluded.heart_rate_max),
    spo2_sum = d.spo2_sum + excluded.spo2_sum,
    spo2_count = d.spo2_count + excluded.spo2_count,
    spo2_min = least(d.spo2_min, excluded.spo2_min),
    temperature_sum = d.temperature_sum + excluded.temperature_sum,
    temperature_count = d.temperature_count + excluded.temperature_count,
    temperature_max = greatest(d.temperature_max, excluded.temperature_max),
    systolic_sum = d.systolic_sum + excluded.systolic_sum,
    systolic_count = d.systolic_count + excluded.systolic_count,
    systolic_max = greatest(d.systolic_max, excluded.systolic_max),
    diastolic_sum = d.diastolic_sum + excluded.diastolic_sum,
    diastolic_count = d.diastolic_count + excluded.diastolic_count,
    diastolic_max = greatest(d.diastolic_max, excluded.diastolic_max),
    steps = greatest(d.steps, excluded.steps),
    sleep_minutes = greatest(d.sleep_minutes, excluded.sleep_minutes)
