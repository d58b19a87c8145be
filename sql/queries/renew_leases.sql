-- A lease that is locked is being released or taken over: it needs no beat, and waiting for it
-- while holding others could deadlock with its publisher.
WITH mine AS (
    SELECT resource, token
    FROM ops.leases
    WHERE (resource, token) IN (
        SELECT * FROM unnest(%(resources)s::text[], %(tokens)s::bigint[]))
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE ops.leases AS l
SET heartbeat_at = clock_timestamp(),
    expires_at = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
FROM mine
WHERE l.resource = mine.resource AND l.token = mine.token
