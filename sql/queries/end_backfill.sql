-- The end of a backfill, by what became of its partitions.
WITH counted AS (
    -- A day without a session is neither good nor bad; one that was there already is good.
    SELECT count(*) FILTER (WHERE state = 'success'
                                  OR state = 'skipped' AND reason = 'already_present') AS good,
           count(*) FILTER (WHERE state = 'partial') AS partial,
           count(*) FILTER (WHERE state NOT IN ('success', 'skipped', 'partial')) AS bad,
           max(finished_at) AS finished_at
    FROM ops.backfill_outcomes
    WHERE backfill_id = %(backfill_id)s
)
UPDATE ops.backfills AS b
SET state = CASE
        WHEN counted.bad > 0 AND %(is_canceled)s THEN 'canceled'
        WHEN counted.bad = 0 AND counted.partial = 0 THEN 'success'
        WHEN counted.good = 0 AND counted.partial = 0 THEN 'failed'
        ELSE 'partial'
    END,
    problem = %(problem)s,
    -- One that Dagster ended before anybody looked ended then, and with its last partition where
    -- Dagster was done with it sooner.
    ended_at = CASE
        WHEN %(ended_at)s::timestamptz IS NULL THEN clock_timestamp()
        ELSE greatest(%(ended_at)s::timestamptz, counted.finished_at)
    END
FROM counted
WHERE b.backfill_id = %(backfill_id)s AND b.ended_at IS NULL
RETURNING b.state
