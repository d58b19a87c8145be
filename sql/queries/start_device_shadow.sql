INSERT INTO devices.shadow_buckets AS s (bucket, shadow_function)
SELECT bucket, %(function)s
FROM unnest(%(buckets)s::smallint[]) AS b (bucket)
ORDER BY bucket
ON CONFLICT (bucket) DO UPDATE
SET shadow_function = excluded.shadow_function,
    compared_rows = 0,
    differing_rows = 0,
    changed_at = clock_timestamp()
