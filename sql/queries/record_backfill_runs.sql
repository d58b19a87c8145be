-- Runs of a Dagster backfill count as those of each backfill that it carries out.
INSERT INTO ops.backfill_runs (run_id, backfill_id)
SELECT r.run_id, s.backfill_id
FROM ops.backfill_segments AS s, unnest(%(run_ids)s::text[]) AS r (run_id)
WHERE s.dagster_backfill_id = %(dagster_backfill_id)s
ON CONFLICT DO NOTHING
