-- Who holds what, and since when nothing was heard of the holder.
SELECT l.resource,
       l.token,
       l.holder,
       l.expires_at < clock_timestamp() - make_interval(secs => %(grace_seconds)s) AS is_silent
FROM ops.leases AS l
ORDER BY l.resource
