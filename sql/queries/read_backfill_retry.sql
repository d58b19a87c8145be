-- Partitions of a backfill that did not end well, oldest first.
SELECT o.partition_key, b.target, b.scope
FROM ops.backfill_outcomes AS o
JOIN ops.backfills AS b ON b.backfill_id = o.backfill_id
WHERE o.backfill_id = %s
  AND o.state NOT IN ('success', 'skipped')
ORDER BY o.position
