-- What devices say of a day or a week themselves. What is sent again replaces it.
WITH newest AS MATERIALIZED (
    SELECT DISTINCT ON (device_sn, period) *
    FROM pg_temp.staged_device_periods
    ORDER BY device_sn, period, row_number DESC
), merged AS (
    INSERT INTO {table} AS s (
        device_sn, {period},
        heart_rate_bpm, spo2_pct, temperature_celsius, systolic_mmhg, diastolic_mmhg, steps,
        sleep_minutes, extra, load_id)
    SELECT
        device_sn, period,
        heart_rate_bpm, spo2_pct, temperature_celsius, systolic_mmhg, diastolic_mmhg, steps,
        sleep_minutes, extra::jsonb, %(load_id)s::bigint
    FROM newest
    ON CONFLICT (device_sn, {period}) DO UPDATE
    SET
        heart_rate_bpm = excluded.heart_rate_bpm,
        spo2_pct = excluded.spo2_pct,
        temperature_celsius = excluded.temperature_celsius,
        systolic_mmhg = excluded.systolic_mmhg,
        diastolic_mmhg = excluded.diastolic_mmhg,
        steps = excluded.steps,
        sleep_minutes = excluded.sleep_minutes,
        extra = excluded.extra,
        load_id = excluded.load_id
    WHERE (s.heart_rate_bpm, s.spo2_pct, s.temperature_celsius, s.systolic_mmhg, s.diastolic_mmhg,
           s.steps, s.sleep_minutes, s.extra)
          IS DISTINCT FROM
          (excluded.heart_rate_bpm,
           excluded.spo2_pct,
           excluded.temperature_celsius,
           excluded.systolic_mmhg,
           excluded.diastolic_mmhg,
           excluded.steps,
           excluded.sleep_minutes,
           excluded.extra)
    RETURNING s.xmax = 0 AS is_new
)
SELECT
    (SELECT count(*) FROM newest) AS key_count,
    count(*) FILTER (WHERE is_new) AS inserted,
    count(*) FILTER (WHERE NOT is_new) AS updated
FROM merged
