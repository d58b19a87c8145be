-- Alerts that fire now, the worst first, and those that ended lately.
SELECT rule, subject, metric, severity, state, value, allowed, fired_at, resolved_at
FROM ops.alerts
WHERE state = 'firing'
   OR state = 'resolved' AND resolved_at > clock_timestamp() - interval '24 hours'
ORDER BY (state = 'firing') DESC, (severity = 'critical') DESC,
         coalesce(resolved_at, fired_at) DESC
LIMIT %(limit)s
