-- Twice as long after each refusal, and up to half of it more, so that many do not come back at once.
WITH refused AS (
    UPDATE devices.outbox AS o
    SET attempts = o.attempts + 1,
        last_error = r.reason,
        next_attempt_at = clock_timestamp() + make_interval(secs =>
            least(%(wait_seconds_max)s, %(first_wait_seconds)s * 2.0 ^ least(o.attempts, 30))
            * (1 + random() / 2)),
        dead_at = CASE WHEN o.attempts + 1 >= %(attempts_max)s THEN clock_timestamp() END
    FROM unnest(%(ids)s::bigint[], %(reasons)s::text[]) AS r (outbox_id, reason)
    WHERE o.outbox_id = r.outbox_id
    RETURNING o.outbox_id, o.dead_at
)
SELECT outbox_id
FROM refused
WHERE dead_at IS NOT NULL
