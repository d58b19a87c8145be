INSERT INTO ops.alerts (
    rule, subject, metric, severity, state, value, allowed, broken_since, critical_since,
    quiet_since, fired_at, resolved_at, resolution)
VALUES (
    %(rule)s, %(subject)s, %(metric)s, %(severity)s, %(state)s, %(value)s, %(allowed)s,
    %(broken_since)s, %(critical_since)s, %(quiet_since)s, %(fired_at)s, %(resolved_at)s,
    %(resolution)s)
RETURNING alert_id
