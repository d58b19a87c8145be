-- Condition of loads that may go: ended before a moment, and nothing reads them any more.
t.finished_at < %(before)s
-- The newest load of a window says how it is.
AND EXISTS (
    SELECT FROM ops.loads AS n WHERE n.resource = t.resource AND n.load_id > t.load_id)
AND NOT EXISTS (
    SELECT
    FROM ops.windows AS w
    WHERE w.target = t.target AND w.scope = t.scope AND w.window_key = t.window_key
      AND w.load_id = t.load_id)
AND NOT EXISTS (
    SELECT FROM ops.dead_letters AS d WHERE d.load_id = t.load_id AND d.state = 'open')
AND NOT EXISTS (SELECT FROM ops.checkpoints AS c WHERE c.load_id = t.load_id)
-- Rows of bars were known from the moment of the load that wrote them, which is read as of a moment.
AND (split_part(t.target, '.', 1) <> 'market' OR t.rows_inserted + t.rows_updated = 0)
-- What a backfill did is counted from its loads.
AND NOT EXISTS (SELECT FROM ops.backfill_runs AS r WHERE r.run_id = t.run_id)
