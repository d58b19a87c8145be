SELECT
    bucket, live_function, shadow_function, previous_function, is_switched, compared_rows,
    differing_rows
FROM devices.shadow_buckets
ORDER BY bucket
