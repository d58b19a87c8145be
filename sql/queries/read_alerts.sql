-- Alerts, newest first; those that fire or wait to fire alone where that is asked for.
SELECT
    rule, subject, metric, severity, state, value, allowed, broken_since, alert_id, critical_since,
    quiet_since, fired_at, resolved_at, resolution
FROM ops.alerts
WHERE (NOT %(is_open)s OR resolved_at IS NULL)
  AND (%(with_pending)s OR state <> 'pending')
ORDER BY alert_id DESC
LIMIT %(limit)s
