-- A run counts as one of the backfill whose Dagster backfill made it; no row while nobody has seen
-- that one. Several assets share a run and a Dagster backfill: the feed tells theirs apart.
WITH found AS (
    SELECT b.backfill_id
    FROM ops.backfill_segments AS s
    JOIN ops.backfills AS b ON b.backfill_id = s.backfill_id
    WHERE s.dagster_backfill_id = %(dagster_backfill_id)s AND b.feed = %(feed)s
),
joined AS (
    INSERT INTO ops.backfill_runs (run_id, backfill_id)
    SELECT %(run_id)s, backfill_id FROM found
    ON CONFLICT DO NOTHING
)
SELECT backfill_id FROM found
