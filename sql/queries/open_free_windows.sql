-- Lease the windows that nobody holds and open a load for each, in one trip to the server.
-- Expired leases are left to acquire_leases, which first ends their holder's backend.
WITH taken AS (
    INSERT INTO ops.leases (resource, holder, backend_pid, backend_start, expires_at)
    SELECT wanted.resource,
           %(holder)s,
           me.pid,
           me.backend_start,
           clock_timestamp() + make_interval(secs => %(lease_seconds)s)
    FROM unnest(%(resources)s::text[]) AS wanted (resource)
    CROSS JOIN pg_stat_get_activity(pg_backend_pid()) AS me
    -- If a server crash loses this commit, publishing finds no lease and refuses: losing it is
    -- safe, and waiting for the disk here would double the cost of a small window.
    CROSS JOIN set_config('synchronous_commit', 'off', true) AS quick
    -- Inserting beside a lease that is being released waits for its holder, who may be stopped.
    WHERE NOT EXISTS (SELECT FROM ops.leases AS l WHERE l.resource = wanted.resource)
    -- Everybody takes and releases leases in the same order, so that two groups cannot deadlock.
    ORDER BY wanted.resource
    ON CONFLICT (resource) DO NOTHING
    RETURNING resource, token
),
-- A load that is still running while its lease is free has lost its process.
abandoned AS (
    UPDATE ops.loads
    SET state = 'failed',
        reason = 'holder_died',
        finished_at = clock_timestamp(),
        is_retryable = true,
        error_class = 'LeaseLost',
        error_message = 'the process that was loading this window ended without a word; '
                        'the window was loaded again by a later run'
    WHERE resource IN (SELECT resource FROM taken) AND state = 'running'
)
INSERT INTO ops.loads (target, scope, window_key, resource, source_file, source_hash,
                       contract_version, lease_token, run_id)
SELECT %(target)s, %(scope)s, w.window_key, w.resource, w.source_file, w.source_hash,
       %(contract_version)s, taken.token, %(run_id)s
FROM unnest(%(window_keys)s::text[], %(resources)s::text[], %(source_files)s::text[],
            %(source_hashes)s::text[])
     AS w (window_key, resource, source_file, source_hash)
JOIN taken ON taken.resource = w.resource
RETURNING window_key, load_id, resource, lease_token
