-- The transfer that was started last through the API: rows it had to move, and those it has read.
WITH started AS (
    SELECT subject AS transfer, detail, happened_at
    FROM ops.audit
    WHERE action = 'transfer.start'
    ORDER BY audit_id DESC
    LIMIT 1
),
load AS (
    SELECT l.state, l.resource, l.rows_read, l.error_message, l.rows_unchanged, l.rows_skipped
    FROM started AS s
    JOIN ops.loads AS l ON l.target = s.detail ->> 'target' AND l.started_at >= s.happened_at
    ORDER BY l.load_id DESC
    LIMIT 1
)
SELECT
    s.transfer,
    (s.detail ->> 'total')::bigint AS total,
    greatest(
        coalesce(l.rows_read, 0),
        -- What is staged chunk by chunk is counted in the load once it is published.
        CASE WHEN l.state = 'running' THEN coalesce(
            (SELECT sum(c.rows_read) FROM ops.checkpoints AS c WHERE c.resource = l.resource), 0)
        ELSE 0 END
    )::bigint AS processed,
    l.state,
    coalesce(l.error_message, '') AS error,
    s.happened_at
FROM started AS s
LEFT JOIN load AS l ON true
