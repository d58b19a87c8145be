UPDATE ops.alerts
SET severity = %(severity)s,
    state = %(state)s,
    value = %(value)s,
    allowed = %(allowed)s,
    critical_since = %(critical_since)s,
    quiet_since = %(quiet_since)s,
    fired_at = %(fired_at)s,
    resolved_at = %(resolved_at)s,
    resolution = %(resolution)s
WHERE alert_id = %(alert_id)s
RETURNING alert_id
