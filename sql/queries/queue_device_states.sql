-- What devices want to be told to Redis, unless a newer record of theirs was known before: a state
-- never goes backwards. Runs before devices.latest is advanced.
INSERT INTO pg_temp.device_alert_changes (device_sn, measured_at, kind, payload)
SELECT w.device_sn, w.measured_at, 'state', w.extra -> 'redis_data'
FROM pg_temp.written_device_records AS w
LEFT JOIN devices.latest AS l USING (device_sn)
WHERE coalesce(w.extra -> 'redis_data', 'null'::jsonb) NOT IN ('null'::jsonb, '{}'::jsonb)
  AND (l.measured_at IS NULL OR w.measured_at >= l.measured_at)
