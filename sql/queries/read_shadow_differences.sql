SELECT bucket, kind, device_sn, measured_at, stored, shadow, reason, row_count
FROM devices.shadow_differences
WHERE bucket = ANY (%(buckets)s)
ORDER BY difference_id DESC
LIMIT %(limit)s
