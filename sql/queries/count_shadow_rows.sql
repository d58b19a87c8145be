UPDATE devices.shadow_buckets AS s
SET compared_rows = s.compared_rows + c.compared,
    differing_rows = s.differing_rows + c.differing
FROM unnest(%(buckets)s::smallint[], %(compared)s::bigint[], %(differing)s::bigint[])
    AS c (bucket, compared, differing)
WHERE s.bucket = c.bucket
