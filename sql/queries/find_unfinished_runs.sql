-- Dagster's own tables, read only to tell whether a closer look is worth its cost.
SELECT EXISTS (
           SELECT FROM dagster.runs
           WHERE status IN ('NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING'))
    OR EXISTS (SELECT FROM dagster.pending_steps)
