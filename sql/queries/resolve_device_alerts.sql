-- An open alert ends with the first record that keeps its rule, or when its rule is no longer for
-- its device.
WITH ended AS (
    SELECT a.alert_id, p.measured_at, 'normal' AS resolution
    FROM (
        SELECT device_sn, rule, metric, min(measured_at) AS measured_at
        FROM pg_temp.device_alert_points
        WHERE island = 1
        GROUP BY device_sn, rule, metric
    ) AS p
    JOIN devices.alerts AS a USING (device_sn, rule, metric)
    WHERE a.resolved_at IS NULL
    UNION ALL
    SELECT a.alert_id, now(), 'not_watched'
    FROM unnest(%(devices)s::text[], %(device_groups)s::text[]) AS d (device_sn, device_group)
    JOIN devices.alerts AS a ON a.device_sn = d.device_sn AND a.resolved_at IS NULL
    WHERE NOT EXISTS (
        SELECT
        FROM jsonb_to_recordset(%(rules)s) AS r (rule text, metric text, groups text[])
        WHERE r.rule = a.rule AND r.metric = a.metric AND d.device_group = ANY (r.groups))
), resolved AS (
    UPDATE devices.alerts AS a
    SET resolved_at = e.measured_at,
        resolution = e.resolution
    FROM ended AS e
    WHERE e.alert_id = a.alert_id
    RETURNING a.*
)
INSERT INTO pg_temp.device_alert_changes (device_sn, measured_at, kind, payload)
SELECT
    device_sn, resolved_at, 'alert_resolved',
    jsonb_build_object(
        'alert_id', alert_id, 'device_sn', device_sn, 'rule', rule, 'metric', metric,
        'severity', severity, 'value', value, 'allowed', allowed, 'broken_since', broken_since,
        'opened_at', opened_at, 'resolved_at', resolved_at, 'resolution', resolution)
FROM resolved
