-- Of copies within a part the last one counts. A row that is there already is changed only if it
-- differs. What was written is kept for the rollups: they need nothing else.
WITH newest AS MATERIALIZED (
    SELECT DISTINCT ON (device_sn, measured_at) *
    FROM pg_temp.staged_device_records
    ORDER BY device_sn, measured_at, row_number DESC
), merged AS (
    INSERT INTO devices.records AS r (
        device_sn, measured_at, heart_rate_bpm, spo2_pct, temperature_celsius, systolic_mmhg,
        diastolic_mmhg, steps, sleep_minutes, extra, load_id)
    SELECT device_sn, measured_at, heart_rate_bpm, spo2_pct, temperature_celsius, systolic_mmhg,
           diastolic_mmhg, steps, sleep_minutes, extra::jsonb, %(load_id)s::bigint
    FROM newest
    ON CONFLICT (device_sn, measured_at) DO UPDATE
    SET heart_rate_bpm = excluded.heart_rate_bpm,
        spo2_pct = excluded.spo2_pct,
        temperature_celsius = excluded.temperature_celsius,
        systolic_mmhg = excluded.systolic_mmhg,
        diastolic_mmhg = excluded.diastolic_mmhg,
        steps = excluded.steps,
        sleep_minutes = excluded.sleep_minutes,
        extra = excluded.extra,
        load_id = excluded.load_id,
        received_at = excluded.received_at
    WHERE (r.heart_rate_bpm, r.spo2_pct, r.temperature_celsius, r.systolic_mmhg, r.diastolic_mmhg,
           r.steps, r.sleep_minutes, r.extra)
          IS DISTINCT FROM
          (excluded.heart_rate_bpm, excluded.spo2_pct, excluded.temperature_celsius,
           excluded.systolic_mmhg, excluded.diastolic_mmhg, excluded.steps,
           excluded.sleep_minutes, excluded.extra)
    -- A row that was there has been locked by this statement; a new one has not.
    RETURNING r.*, r.xmax = 0 AS is_new
), kept AS (
    INSERT INTO pg_temp.written_device_records (
        device_sn, measured_at, heart_rate_bpm, spo2_pct, temperature_celsius, systolic_mmhg,
        diastolic_mmhg, steps, sleep_minutes, extra, load_id, day, is_new)
    SELECT device_sn, measured_at, heart_rate_bpm, spo2_pct, temperature_celsius, systolic_mmhg,
           diastolic_mmhg, steps, sleep_minutes, extra, load_id,
           (measured_at AT TIME ZONE 'UTC')::date, is_new
    FROM merged
    RETURNING is_new
)
SELECT
    (SELECT count(*) FROM newest) AS key_count,
    count(*) FILTER (WHERE is_new) AS inserted,
    count(*) FILTER (WHERE NOT is_new) AS updated
FROM kept
