-- Into the outbox in the order of the device's time: what an alert is about comes before it,
-- and what was said of a day or week (those have a row number) after the record before it.
INSERT INTO devices.outbox (destination, bucket, device_sn, kind, payload, load_id)
SELECT
    d.destination, get_byte(sha256(convert_to(c.device_sn, 'UTF8')), 0), c.device_sn, c.kind,
    c.payload, %(load_id)s::bigint
FROM pg_temp.device_alert_changes AS c
CROSS JOIN unnest(%(destinations)s::text[]) AS d (destination)
WHERE d.destination = 'redis' OR c.kind <> 'state'
ORDER BY
    c.device_sn, c.measured_at, c.row_number NULLS FIRST,
    array_position(ARRAY['state', 'alert_resolved', 'alert_opened'], c.kind),
    c.payload ->> 'alert_id'
