-- How far the runs are, for the next part; devices that are as they should be have no row. Nor has
-- a rule that is no longer for its device.
WITH newest AS MATERIALIZED (
    SELECT DISTINCT ON (device_sn, rule) *
    FROM pg_temp.device_alert_points
    ORDER BY device_sn, rule, measured_at DESC
), kept AS (
    INSERT INTO devices.alert_runs AS s (
        device_sn, rule, measured_at, run_count, run_since, prior_count, prior_since)
    SELECT device_sn, rule, measured_at, run_count, run_since, prior_count, prior_since
    FROM newest
    WHERE run_count > 0 OR prior_count > 0
    ORDER BY device_sn, rule
    ON CONFLICT (device_sn, rule) DO UPDATE
    SET measured_at = excluded.measured_at,
        run_count = excluded.run_count,
        run_since = excluded.run_since,
        prior_count = excluded.prior_count,
        prior_since = excluded.prior_since
)
DELETE FROM devices.alert_runs AS s
USING unnest(%(devices)s::text[], %(device_groups)s::text[]) AS d (device_sn, device_group)
WHERE s.device_sn = d.device_sn
  AND (
      EXISTS (
          SELECT
          FROM newest AS n
          WHERE n.device_sn = s.device_sn AND n.rule = s.rule
            AND n.run_count = 0 AND n.prior_count = 0)
      OR NOT EXISTS (
          SELECT
          FROM jsonb_to_recordset(%(rules)s) AS r (rule text, groups text[])
          WHERE r.rule = s.rule AND d.device_group = ANY (r.groups)))
