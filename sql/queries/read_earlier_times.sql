-- When partitions of the newest three backfills of the same asset ended, in order of their ends,
-- and how long after its last partition each backfill ended.
WITH earlier AS (
    SELECT e.backfill_id, e.ended_at
    FROM ops.backfills AS b
    JOIN ops.backfills AS e ON e.asset_key = b.asset_key
    WHERE b.backfill_id = %(backfill_id)s
      AND e.backfill_id <> b.backfill_id
      AND e.symbols IS NOT DISTINCT FROM b.symbols
      AND e.state IN ('success', 'partial')
    ORDER BY e.backfill_id DESC
    LIMIT 3
)
SELECT o.partition_key, o.state, o.started_at, o.finished_at, o.run_id, e.backfill_id,
       greatest(extract(epoch FROM e.ended_at - max(o.finished_at) OVER of_one), 0)::float8
           AS closing_seconds
FROM earlier AS e
JOIN ops.backfill_outcomes AS o ON o.backfill_id = e.backfill_id
WHERE o.finished_at IS NOT NULL
WINDOW of_one AS (PARTITION BY e.backfill_id)
ORDER BY o.finished_at
