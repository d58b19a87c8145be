-- The backfill of one of these assets that a Dagster backfill carries out.
SELECT b.backfill_id
FROM ops.backfill_segments AS s
JOIN ops.backfills AS b ON b.backfill_id = s.backfill_id
WHERE s.dagster_backfill_id = %(dagster_backfill_id)s AND b.asset_key = ANY (%(asset_keys)s)
ORDER BY b.backfill_id
LIMIT 1
