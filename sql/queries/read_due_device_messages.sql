-- In the order of their ids, which is the order of the commits of one device. What waits for another
-- attempt holds back what comes after it for the same device, and nothing else.
SELECT o.outbox_id, o.device_sn, o.kind, o.payload, o.load_id, o.created_at
FROM devices.outbox AS o
WHERE o.destination = %(destination)s
  AND o.dead_at IS NULL
  AND o.bucket = ANY (%(buckets)s)
  AND NOT EXISTS (
      SELECT
      FROM devices.outbox AS held
      WHERE held.device_sn = o.device_sn
        AND held.destination = o.destination
        AND held.dead_at IS NULL
        AND held.next_attempt_at > clock_timestamp())
ORDER BY o.outbox_id
LIMIT %(limit)s
