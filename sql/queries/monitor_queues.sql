-- What waits and what is held, as metric, labels and value.
WITH waiting AS MATERIALIZED (
    SELECT 'device_inbox' AS queue, count(*) AS row_count, min(received_at) AS oldest_at
    FROM devices.inbox
    UNION ALL
    SELECT 'device_outbox', count(*), min(created_at)
    FROM devices.outbox
    WHERE dead_at IS NULL
    UNION ALL
    SELECT 'alert_messages', count(*), min(created_at)
    FROM ops.alert_messages
    WHERE sent_at IS NULL AND given_up_at IS NULL
)
SELECT
    'batch_assets_waiting' AS metric,
    jsonb_build_object('queue', queue) AS labels,
    row_count::double precision AS value
FROM waiting
UNION ALL
SELECT
    'batch_assets_oldest_waiting_seconds', jsonb_build_object('queue', queue),
    coalesce(EXTRACT(epoch FROM clock_timestamp() - oldest_at), 0)
FROM waiting
UNION ALL
SELECT
    'batch_assets_queue_used_ratio', jsonb_build_object('queue', queue),
    row_count / %(inbox_rows_max)s::double precision
FROM waiting
WHERE queue = 'device_inbox'
UNION ALL
SELECT 'batch_assets_device_outbox_dead', '{}', count(*) FROM devices.outbox WHERE dead_at IS NOT NULL
UNION ALL
SELECT
    'batch_assets_dead_letters_open', jsonb_build_object('domain', d.domain),
    count(l.target)
FROM unnest(ARRAY['market', 'documents', 'devices', 'tables', 'spreadsheets']) AS d (domain)
LEFT JOIN ops.dead_letters AS l
    ON l.state = 'open'
    AND d.domain = CASE
        WHEN split_part(l.target, '.', 1) IN ('market', 'documents', 'devices')
            THEN split_part(l.target, '.', 1)
        WHEN l.target = ANY(%(table_targets)s) THEN 'tables'
        ELSE 'spreadsheets'
    END
GROUP BY d.domain
UNION ALL
SELECT 'batch_assets_leases', '{}', count(*) FROM ops.leases
UNION ALL
SELECT
    'batch_assets_oldest_lease_seconds', '{}',
    coalesce(EXTRACT(epoch FROM clock_timestamp() - min(acquired_at)), 0)
FROM ops.leases
UNION ALL
-- Above zero: a holder that has stopped renewing, and that nobody has taken over from.
SELECT
    'batch_assets_lease_silent_seconds', '{}',
    greatest(0, coalesce(EXTRACT(epoch FROM clock_timestamp() - min(expires_at)), 0))
FROM ops.leases
UNION ALL
SELECT
    'batch_assets_lock_wait_seconds', '{}',
    coalesce(EXTRACT(epoch FROM clock_timestamp() - min(query_start)), 0)
FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
UNION ALL
SELECT
    'batch_assets_database_connections', '{}', count(*)
FROM pg_stat_activity
WHERE backend_type = 'client backend'
UNION ALL
SELECT
    'batch_assets_database_connections_max', '{}',
    current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer
UNION ALL
SELECT 'batch_assets_database_bytes', '{}', pg_database_size(current_database())
UNION ALL
SELECT
    'batch_assets_running_loads', jsonb_build_object('target', target), count(*)
FROM ops.loads
WHERE state = 'running'
GROUP BY target
UNION ALL
SELECT
    'batch_assets_run_workers', jsonb_build_object('stage', s.stage), count(w.run_id)
FROM unnest(ARRAY['created', 'launching', 'working']) AS s (stage)
LEFT JOIN ops.run_workers AS w USING (stage)
GROUP BY s.stage
UNION ALL
SELECT
    'batch_assets_backfills', jsonb_build_object('state', s.state), count(b.backfill_id)
FROM unnest(ARRAY['requested', 'running', 'paused']) AS s (state)
LEFT JOIN ops.backfills AS b ON b.state = s.state AND b.ended_at IS NULL
GROUP BY s.state
UNION ALL
SELECT
    'batch_assets_backfill_partitions_left', '{}',
    count(*) FILTER (WHERE o.finished_at IS NULL)
FROM ops.backfills AS b
JOIN ops.backfill_outcomes AS o USING (backfill_id)
WHERE b.ended_at IS NULL
UNION ALL
SELECT
    'batch_assets_vendor_tokens', jsonb_build_object('vendor', name),
    least(capacity, tokens + refill_per_second
        * EXTRACT(epoch FROM clock_timestamp() - updated_at)::double precision)
FROM ops.rate_limits
UNION ALL
SELECT
    'batch_assets_vendor_tokens_max', jsonb_build_object('vendor', name), capacity
FROM ops.rate_limits
UNION ALL
SELECT
    'batch_assets_vendor_breaker_open', jsonb_build_object('vendor', name),
    (breaker_state <> 'closed')::integer
FROM ops.rate_limits
UNION ALL
SELECT
    'batch_assets_alerts_firing', jsonb_build_object('severity', s.severity), count(a.alert_id)
FROM unnest(ARRAY['warning', 'critical']) AS s (severity)
LEFT JOIN ops.alerts AS a ON a.severity = s.severity AND a.state = 'firing'
GROUP BY s.severity
UNION ALL
SELECT
    'batch_assets_alerts_evaluated_seconds', '{}',
    EXTRACT(epoch FROM clock_timestamp() - evaluated_at)
FROM ops.alert_clock
WHERE evaluated_at > '-infinity'
