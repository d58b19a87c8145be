-- A worker of the continuous mode says that it lives; those that were silent for too long go.
WITH quick AS MATERIALIZED (
    -- Said again within a second: nothing is lost if a crash of the server loses it.
    SELECT set_config('synchronous_commit', 'off', true)
), gone AS (
    DELETE FROM ops.leases
    WHERE starts_with(resource, 'devices.workers/')
      AND resource <> %(resource)s
      AND expires_at < clock_timestamp()
), announced AS (
    INSERT INTO ops.leases AS l (resource, holder, backend_pid, backend_start, expires_at)
    SELECT %(resource)s, %(holder)s, me.pid, me.backend_start,
           clock_timestamp() + make_interval(secs => %(lease_seconds)s)
    FROM pg_stat_get_activity(pg_backend_pid()) AS me
    CROSS JOIN quick
    ON CONFLICT (resource) DO UPDATE
    SET backend_pid = excluded.backend_pid,
        backend_start = excluded.backend_start,
        heartbeat_at = clock_timestamp(),
        expires_at = excluded.expires_at
    RETURNING resource
)
SELECT
    -- Of the moment before: this worker counts, whether it was there or not.
    1 + count(*) FILTER (
        WHERE starts_with(resource, 'devices.workers/') AND resource <> %(resource)s),
    coalesce(
        array_agg(resource) FILTER (WHERE resource = ANY (%(shards)s)), ARRAY[]::text[])
FROM ops.leases
WHERE expires_at >= clock_timestamp()
  AND EXISTS (SELECT FROM announced)
