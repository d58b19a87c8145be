-- An unfinished backfill of the same asset that loads one of these partitions.
SELECT b.backfill_id, b.first_key, b.last_key
FROM ops.backfills AS b
WHERE b.asset_key = %(asset_key)s
  AND b.ended_at IS NULL
  AND b.fingerprint <> %(fingerprint)s
  AND EXISTS (SELECT
              FROM ops.backfill_partitions AS p
              WHERE p.backfill_id = b.backfill_id AND p.partition_key = ANY (%(keys)s))
ORDER BY b.backfill_id
LIMIT 1
