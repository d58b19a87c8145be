-- How each day was left by the newest load that says something about the whole day: a day that was
-- passed over, and a run of chosen symbols, say nothing.
SELECT w.window_key,
       l.state,
       coalesce(l.reason, '') AS reason,
       coalesce(l.source_hash, '') AS source_hash,
       coalesce(l.contract_version, '') AS contract_version,
       l.started_at,
       l.load_id
FROM unnest(%(window_keys)s::text[], %(resources)s::text[]) AS w (window_key, resource)
JOIN LATERAL (
    SELECT n.*
    FROM ops.loads AS n
    WHERE n.resource = w.resource
      AND coalesce(n.reason, '') NOT IN ('already_present', 'subset')
    ORDER BY n.load_id DESC
    LIMIT 1
) AS l ON TRUE
