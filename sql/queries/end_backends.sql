-- A client that is gone may have left its backend in the middle of a COPY; it holds the locks.
-- backend_start guards against a pid that was given to somebody else since.
SELECT pg_terminate_backend(a.pid, 5000)
FROM unnest(%(resources)s::text[], %(tokens)s::bigint[]) AS ended (resource, token)
JOIN ops.leases AS l USING (resource, token)
JOIN pg_stat_activity AS a ON a.pid = l.backend_pid AND a.backend_start = l.backend_start
WHERE a.pid <> pg_backend_pid()
  -- A holder that came back meanwhile has renewed its lease.
  AND (%(is_dead)s OR l.expires_at < clock_timestamp())
