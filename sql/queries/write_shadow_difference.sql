INSERT INTO devices.shadow_differences (
    bucket, kind, device_sn, measured_at, stored, shadow, reason, row_count, load_id)
VALUES (
    %(bucket)s, %(kind)s, %(device_sn)s, %(measured_at)s, %(stored)s, %(shadow)s, %(reason)s,
    %(row_count)s, %(load_id)s)
