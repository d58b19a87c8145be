-- A run stopped because of a pause: what it did not begin is handed out again on resumption.
WITH held AS (
    UPDATE ops.backfill_runs
    SET held_at = clock_timestamp()
    WHERE run_id = %(run_id)s AND backfill_id = %(backfill_id)s
)
UPDATE ops.backfill_segments
SET held_at = coalesce(held_at, clock_timestamp())
WHERE backfill_id = %(backfill_id)s AND ended_at IS NULL
