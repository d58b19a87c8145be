-- Locked in the order in which they are taken: see acquire_leases.
WITH mine AS (
    SELECT resource, token
    FROM ops.leases
    WHERE (resource, token) IN (
        SELECT * FROM unnest(%(resources)s::text[], %(tokens)s::bigint[]))
    ORDER BY resource
    FOR UPDATE
)
DELETE FROM ops.leases AS l
USING mine
WHERE l.resource = mine.resource AND l.token = mine.token
RETURNING l.resource, l.token
