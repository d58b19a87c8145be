-- A client stopped in the middle of a COPY survives every server time-out; only ending its backend
-- frees its locks. backend_start guards against a pid that was given to somebody else since.
-- "Expired" is judged by the start of the transaction, as in acquire_leases: a lease that runs out
-- between the two statements would be waited for while its stopped holder still has the row.
SELECT l.resource, pg_terminate_backend(a.pid, 5000)
FROM ops.leases AS l
JOIN pg_stat_activity AS a ON a.pid = l.backend_pid AND a.backend_start = l.backend_start
WHERE l.resource = ANY (%(resources)s)
  AND l.expires_at < now()
  AND a.pid <> pg_backend_pid()
