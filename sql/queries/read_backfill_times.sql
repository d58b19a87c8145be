-- When each partition of a backfill began and ended, in order of their ends; the rest follows.
SELECT partition_key, state, started_at, finished_at, run_id
FROM ops.backfill_outcomes
WHERE backfill_id = %s
ORDER BY finished_at NULLS LAST, position
