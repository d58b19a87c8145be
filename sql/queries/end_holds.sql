-- Give back what a process held that is gone. Tokens only rise, so a deleted lease is a free one,
-- and what its holder might still try to publish is refused.
WITH ended AS (
    DELETE FROM ops.leases
    WHERE (resource, token) IN (
        SELECT l.resource, l.token
        FROM ops.leases AS l
        JOIN unnest(%(resources)s::text[], %(tokens)s::bigint[]) AS gone (resource, token)
             ON l.resource = gone.resource AND l.token = gone.token
        WHERE %(is_dead)s OR l.expires_at < clock_timestamp()
        -- In the order in which everybody takes and releases leases.
        ORDER BY l.resource
        FOR UPDATE OF l
    )
    RETURNING resource, token
),
closed AS (
    UPDATE ops.loads AS o
    SET state = 'failed',
        reason = 'holder_died',
        finished_at = clock_timestamp(),
        is_retryable = true,
        error_class = 'LeaseLost',
        error_message = %(message)s
    WHERE o.state = 'running'
      AND (
          (o.resource, o.lease_token) IN (SELECT resource, token FROM ended)
          -- A load whose lease is gone already; the lease of a living step of the run is not.
          OR (o.run_id = %(run_id)s AND NOT EXISTS (
              SELECT FROM ops.leases AS l
              WHERE l.resource = o.resource AND l.token = o.lease_token))
      )
    RETURNING o.load_id
)
SELECT (SELECT count(*) FROM ended), (SELECT count(*) FROM closed)
