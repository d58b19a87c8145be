-- Partitions that a backfill has still to load, oldest first: never begun, or begun by a run that
-- died.
SELECT o.partition_key
FROM ops.backfill_outcomes AS o
WHERE o.backfill_id = %s
  AND (o.state IN ('waiting', 'running') OR o.state = 'failed' AND o.reason = 'holder_died')
ORDER BY o.position
