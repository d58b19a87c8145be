INSERT INTO ops.leases AS held (resource, holder, backend_pid, backend_start, expires_at)
SELECT wanted.resource,
       %(holder)s,
       %(backend_pid)s,
       %(backend_start)s,
       clock_timestamp() + make_interval(secs => %(lease_seconds)s)
FROM unnest(%(resources)s::text[]) AS wanted (resource)
-- A conflict locks the row even where nothing is taken: who only asks must not delay the holder.
WHERE NOT EXISTS (
    SELECT FROM ops.leases AS l
    WHERE l.resource = wanted.resource AND l.expires_at >= now())
-- Everybody takes and releases leases in the same order, so that two groups cannot deadlock.
ORDER BY wanted.resource
ON CONFLICT (resource) DO UPDATE
SET holder = excluded.holder,
    token = nextval('ops.lease_tokens'),
    backend_pid = excluded.backend_pid,
    backend_start = excluded.backend_start,
    acquired_at = clock_timestamp(),
    heartbeat_at = clock_timestamp(),
    expires_at = excluded.expires_at
WHERE held.expires_at < now()
RETURNING held.resource, held.token
