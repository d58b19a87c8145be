-- The newest record written for each device, unless a newer one is known.
INSERT INTO devices.latest AS l (
    device_sn, measured_at,
    heart_rate_bpm, spo2_pct, temperature_celsius, systolic_mmhg, diastolic_mmhg, steps,
    sleep_minutes, extra, load_id)
SELECT DISTINCT ON (device_sn)
    device_sn, measured_at,
    heart_rate_bpm, spo2_pct, temperature_celsius, systolic_mmhg, diastolic_mmhg, steps,
    sleep_minutes, extra, load_id
FROM pg_temp.written_device_records
ORDER BY device_sn, measured_at DESC
ON CONFLICT (device_sn) DO UPDATE
SET
    measured_at = excluded.measured_at,
    heart_rate_bpm = excluded.heart_rate_bpm,
    spo2_pct = excluded.spo2_pct,
    temperature_celsius = excluded.temperature_celsius,
    systolic_mmhg = excluded.systolic_mmhg,
    diastolic_mmhg = excluded.diastolic_mmhg,
    steps = excluded.steps,
    sleep_minutes = excluded.sleep_minutes,
    extra = excluded.extra,
    load_id = excluded.load_id
WHERE excluded.measured_at >= l.measured_at
