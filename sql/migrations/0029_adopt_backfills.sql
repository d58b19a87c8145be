-- Backfills that somebody launched in Dagster itself are followed beside ours. One over several assets
-- is one row for each asset, whose segment and whose runs are then those of the others, too.
ALTER TABLE ops.backfills ADD COLUMN adopted_from text;
COMMENT ON COLUMN ops.backfills.adopted_from IS 'The Dagster backfill that was launched without us; NULL for a request.';
-- Two looks, or two drivers, adopt it once.
CREATE UNIQUE INDEX backfills_adopt_once ON ops.backfills (adopted_from, asset_key)
    WHERE adopted_from IS NOT NULL;

ALTER TABLE ops.backfill_segments
    ADD COLUMN is_adopted boolean NOT NULL DEFAULT false,
    ADD COLUMN is_shared boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT backfill_segments_pkey,
    ADD CONSTRAINT backfill_segments_pkey PRIMARY KEY (dagster_backfill_id, backfill_id);
COMMENT ON COLUMN ops.backfill_segments.is_adopted IS 'Launched in Dagster itself, which alone starts its runs again.';
COMMENT ON COLUMN ops.backfill_segments.is_shared IS 'It loads other assets, too: whoever ends it ends these with it.';

ALTER TABLE ops.backfill_runs
    DROP CONSTRAINT backfill_runs_pkey,
    ADD CONSTRAINT backfill_runs_pkey PRIMARY KEY (run_id, backfill_id);

-- A look begins where the last one ended, however many backfills Dagster remembers.
CREATE TABLE ops.backfill_adoption (
    only_row           boolean     NOT NULL DEFAULT true,
    looked_at          timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT backfill_adoption_pkey PRIMARY KEY (only_row),
    CONSTRAINT backfill_adoption_has_one_row CHECK (only_row)
);
INSERT INTO ops.backfill_adoption DEFAULT VALUES;
COMMENT ON TABLE ops.backfill_adoption IS 'When Dagster was last asked for backfills that were launched without us.';
