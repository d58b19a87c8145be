INSERT INTO ops.leases AS held (resource, holder, backend_pid, backend_start, expires_at)
SELECT wanted.resource,
       %(holder)s,
       %(backend_pid)s,
       %(backend_start)s,
       clock_timestamp() + make_interval(secs => %(lease_seconds)s)
FROM unnest(%(resources)s::text[]) AS wanted (resource)
-- Everybody takes leases in the same order, so that two groups cannot wait for each other.
ORDER BY wanted.resource
ON CONFLICT (resource) DO UPDATE
SET holder = excluded.holder,
    token = nextval('ops.lease_tokens'),
    backend_pid = excluded.backend_pid,
    backend_start = excluded.backend_start,
    acquired_at = clock_timestamp(),
    heartbeat_at = clock_timestamp(),
    expires_at = excluded.expires_at
WHERE held.expires_at < clock_timestamp()
RETURNING held.resource, held.token
