-- An alert for each run of records that broke a rule long enough; one whose run has ended within
-- this part is resolved at once.
WITH ends AS (
    SELECT device_sn, rule, island, min(measured_at) AS measured_at
    FROM pg_temp.device_alert_points
    WHERE island > 0
    GROUP BY device_sn, rule, island
), firing AS (
    SELECT DISTINCT ON (device_sn, rule, island) *
    FROM pg_temp.device_alert_points
    WHERE is_firing
    ORDER BY device_sn, rule, island, measured_at
), opened AS (
    INSERT INTO devices.alerts (
        device_sn, rule, metric, severity, value, allowed, broken_since, opened_at, resolved_at,
        resolution, load_id)
    SELECT
        f.device_sn, f.rule, f.metric, r.severity, f.value, r.allowed, f.run_since, f.measured_at,
        ended.measured_at, CASE WHEN ended.measured_at IS NOT NULL THEN 'normal' END,
        %(load_id)s::bigint
    FROM firing AS f
    JOIN unnest(%(devices)s::text[], %(device_groups)s::text[]) AS d (device_sn, device_group)
        USING (device_sn)
    JOIN jsonb_to_recordset(%(rules)s) AS r (
        rule text, metric text, severity text, allowed text, groups text[])
        ON r.rule = f.rule AND d.device_group = ANY (r.groups)
    LEFT JOIN ends AS ended
        ON ended.device_sn = f.device_sn AND ended.rule = f.rule AND ended.island = f.island + 1
    ORDER BY f.device_sn, f.measured_at, f.rule
    RETURNING *
)
INSERT INTO pg_temp.device_alert_changes (device_sn, measured_at, kind, payload)
SELECT
    o.device_sn, c.changed_at, c.kind,
    jsonb_build_object(
        'alert_id', o.alert_id, 'device_sn', o.device_sn, 'rule', o.rule, 'metric', o.metric,
        'severity', o.severity, 'value', o.value, 'allowed', o.allowed,
        'broken_since', o.broken_since, 'opened_at', o.opened_at) || c.ending
FROM opened AS o
CROSS JOIN LATERAL (
    SELECT o.opened_at, 'alert_opened', '{}'::jsonb
    UNION ALL
    SELECT
        o.resolved_at, 'alert_resolved',
        jsonb_build_object('resolved_at', o.resolved_at, 'resolution', o.resolution)
    WHERE o.resolved_at IS NOT NULL
) AS c (changed_at, kind, ending)
