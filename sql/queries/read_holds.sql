-- Who holds what, and since when nothing was heard of the holder.
SELECT l.resource,
       l.token,
       l.holder,
       l.expires_at < clock_timestamp() - make_interval(secs => %(grace_seconds)s) AS is_silent,
       EXISTS (
           SELECT
           FROM pg_stat_activity AS a
           WHERE a.pid = l.backend_pid
             -- Whose start this role may not see is taken for the one that is meant.
             AND coalesce(a.backend_start, l.backend_start) = l.backend_start
       ) AS has_backend
FROM ops.leases AS l
ORDER BY l.resource
