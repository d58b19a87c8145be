-- Condition of Dagster's events that may go: what steps said, of runs that ended. Events of assets
-- are what the UI knows partitions by, and events of runs say why one failed: both stay.
t.timestamp < %(before)s AT TIME ZONE 'UTC'
AND t.asset_key IS NULL
AND (
    t.dagster_event_type IS NULL
    OR starts_with(t.dagster_event_type, 'STEP_') AND t.dagster_event_type <> 'STEP_FAILURE'
    OR starts_with(t.dagster_event_type, 'RESOURCE_INIT_')
    OR t.dagster_event_type IN ('ENGINE_EVENT', 'LOGS_CAPTURED', 'LOADED_INPUT', 'HANDLED_OUTPUT'))
AND NOT EXISTS (
    SELECT
    FROM dagster.runs AS r
    WHERE r.run_id = t.run_id AND r.status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED'))
