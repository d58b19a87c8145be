-- What devices want to be told to Redis with a day or a week, unless a newer one of theirs was known
-- before, or came before it in this part: a state never goes backwards. Runs before the merge. Each
-- comes after the record that was sent before it.
INSERT INTO pg_temp.device_alert_changes (device_sn, measured_at, kind, payload, row_number)
SELECT
    n.device_sn,
    coalesce(
        (SELECT max(r.measured_at) FROM pg_temp.staged_device_records AS r
         WHERE r.device_sn = n.device_sn AND r.row_number < n.row_number),
        '-infinity'),
    'state', n.extra::jsonb -> 'redis_data', n.row_number
FROM (
    SELECT DISTINCT ON (device_sn, period) *
    FROM pg_temp.staged_device_periods
    ORDER BY device_sn, period, row_number DESC
) AS n
LEFT JOIN {table} AS s ON s.device_sn = n.device_sn AND s.{period} = n.period
WHERE coalesce(n.extra::jsonb -> 'redis_data', 'null'::jsonb) NOT IN ('null'::jsonb, '{{}}'::jsonb)
  AND NOT EXISTS (
      SELECT FROM {table} AS later
      WHERE later.device_sn = n.device_sn AND later.{period} > n.period)
  AND NOT EXISTS (
      SELECT FROM pg_temp.staged_device_periods AS sooner
      WHERE sooner.device_sn = n.device_sn AND sooner.period > n.period
        AND sooner.row_number < n.row_number)
  AND (s.device_sn IS NULL
       OR (s.heart_rate_bpm, s.spo2_pct, s.temperature_celsius, s.systolic_mmhg, s.diastolic_mmhg,
           s.steps, s.sleep_minutes, s.extra)
          IS DISTINCT FROM
          (n.heart_rate_bpm, n.spo2_pct, n.temperature_celsius, n.systolic_mmhg, n.diastolic_mmhg,
           n.steps, n.sleep_minutes, n.extra::jsonb))
