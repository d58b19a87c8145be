-- The newest window of each scope of a target; scopes without one are there too.
SELECT s.scope, w.window_key, w.row_count, w.published_at
FROM unnest(%(scopes)s::text[]) AS s (scope)
LEFT JOIN LATERAL (
    SELECT window_key, row_count, published_at
    FROM ops.windows
    WHERE target = %(target)s AND scope = s.scope AND window_key <> %(undated)s
    ORDER BY window_key DESC
    LIMIT 1
) AS w ON true
