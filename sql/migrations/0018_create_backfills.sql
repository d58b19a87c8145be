-- Backfills as operators see them: one number through pauses, resumptions and crashes, whatever
-- Dagster backfills carry it out.
CREATE TABLE ops.backfills (
    backfill_id        bigint      GENERATED ALWAYS AS IDENTITY,
    asset_key          text        NOT NULL,
    feed               text        NOT NULL,
    target             text        NOT NULL,
    scope              text        NOT NULL,
    first_key          text        NOT NULL,
    last_key           text        NOT NULL,
    partitions         integer     NOT NULL,
    fingerprint        text        NOT NULL,
    is_forced          boolean     NOT NULL DEFAULT false,
    symbols            text[],
    priority           integer     NOT NULL DEFAULT -10,
    wanted             text        NOT NULL DEFAULT 'run',
    state              text        NOT NULL DEFAULT 'requested',
    problem            text        NOT NULL DEFAULT '',
    retry_of           bigint,
    requested_by       text        NOT NULL,
    requested_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at         timestamptz,
    ended_at           timestamptz,
    CONSTRAINT backfills_pkey PRIMARY KEY (backfill_id),
    CONSTRAINT backfills_wanted_is_known CHECK (wanted IN ('run', 'pause', 'cancel')),
    CONSTRAINT backfills_state_is_known CHECK (state IN (
        'requested', 'running', 'paused', 'success', 'partial', 'failed', 'canceled')),
    CONSTRAINT backfills_end_is_final CHECK (
        (ended_at IS NOT NULL) = (state IN ('success', 'partial', 'failed', 'canceled')))
);
-- The same request twice is one backfill while it runs, however close together they come.
CREATE UNIQUE INDEX backfills_run_once ON ops.backfills (fingerprint) WHERE ended_at IS NULL;
CREATE INDEX backfills_unfinished ON ops.backfills (backfill_id) WHERE ended_at IS NULL;
COMMENT ON TABLE ops.backfills IS 'One row per backfill that somebody asked for.';
COMMENT ON COLUMN ops.backfills.feed IS 'What a pause of a feed names; a tag of its runs.';
COMMENT ON COLUMN ops.backfills.scope IS 'With target: the loads that count as its outcome.';
COMMENT ON COLUMN ops.backfills.fingerprint IS 'SHA-256 of asset, partitions, symbols and force.';
COMMENT ON COLUMN ops.backfills.wanted IS 'What people asked for last; state is how far that is.';
COMMENT ON COLUMN ops.backfills.problem IS 'Why it does not go on by itself, for a person.';
COMMENT ON COLUMN ops.backfills.retry_of IS 'The backfill whose failed partitions this one loads again.';

CREATE TABLE ops.backfill_partitions (
    backfill_id        bigint      NOT NULL,
    position           integer     NOT NULL,
    partition_key      text        NOT NULL,
    why                text,
    CONSTRAINT backfill_partitions_pkey PRIMARY KEY (backfill_id, partition_key)
);
COMMENT ON TABLE ops.backfill_partitions IS 'What each backfill is to load; position is the i of [i/n].';
COMMENT ON COLUMN ops.backfill_partitions.why IS 'The reason in the plan; NULL where nobody planned.';

CREATE TABLE ops.backfill_segments (
    dagster_backfill_id text       NOT NULL,
    backfill_id        bigint      NOT NULL,
    partitions         integer     NOT NULL,
    launched_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    held_at            timestamptz,
    ended_at           timestamptz,
    end_status         text,
    CONSTRAINT backfill_segments_pkey PRIMARY KEY (dagster_backfill_id)
);
CREATE INDEX backfill_segments_by_backfill ON ops.backfill_segments (backfill_id, launched_at);
COMMENT ON TABLE ops.backfill_segments IS 'The Dagster backfills of a backfill: the first, and one for each resumption.';
COMMENT ON COLUMN ops.backfill_segments.held_at IS 'When a pause kept partitions of it from being handed out.';
COMMENT ON COLUMN ops.backfill_segments.end_status IS 'Dagster''s own; NULL where Dagster no longer knows it.';

CREATE TABLE ops.backfill_runs (
    run_id             text        NOT NULL,
    backfill_id        bigint      NOT NULL,
    began_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    held_at            timestamptz,
    CONSTRAINT backfill_runs_pkey PRIMARY KEY (run_id)
);
CREATE INDEX backfill_runs_by_backfill ON ops.backfill_runs (backfill_id);
COMMENT ON TABLE ops.backfill_runs IS 'Runs that worked for a backfill, written by the run when it begins.';
COMMENT ON COLUMN ops.backfill_runs.held_at IS 'When the run stopped before its next partition, because of a pause or a cancellation.';

CREATE TABLE ops.paused_feeds (
    feed               text        NOT NULL,
    paused_by          text        NOT NULL,
    paused_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT paused_feeds_pkey PRIMARY KEY (feed)
);
COMMENT ON TABLE ops.paused_feeds IS 'Feeds of which no run begins another partition, whoever started it.';

CREATE TABLE ops.eta_accuracy (
    backfill_id        bigint      NOT NULL,
    done_tenths        smallint    NOT NULL,
    estimated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    p50_at             timestamptz NOT NULL,
    p90_at             timestamptz NOT NULL,
    ended_at           timestamptz,
    CONSTRAINT eta_accuracy_pkey PRIMARY KEY (backfill_id, done_tenths),
    CONSTRAINT eta_accuracy_tenths_are_of_ten CHECK (done_tenths BETWEEN 0 AND 9)
);
COMMENT ON TABLE ops.eta_accuracy IS 'When a backfill was expected to end, at every tenth of the way, and when it did.';

-- A run's loads, by partition: what progress is counted from.
CREATE INDEX loads_by_run ON ops.loads (run_id, window_key);

-- The outcome of each partition within its backfill. A run that is started again after a crash
-- passes over what is there; that is not what the backfill did with the partition.
CREATE VIEW ops.backfill_outcomes AS
SELECT p.backfill_id,
       p.position,
       p.partition_key,
       p.why,
       l.load_id,
       l.run_id,
       coalesce(l.state, 'waiting') AS state,
       coalesce(l.reason, '') AS reason,
       coalesce(l.error_class, '') AS error_class,
       coalesce(l.error_message, '') AS error_message,
       l.started_at,
       l.finished_at,
       coalesce(l.rows_read, 0) AS rows_read,
       coalesce(l.rows_inserted, 0) AS rows_inserted,
       coalesce(l.rows_updated, 0) AS rows_updated,
       coalesce(l.rows_unchanged, 0) AS rows_unchanged,
       coalesce(l.rows_duplicate, 0) AS rows_duplicate,
       coalesce(l.rows_rejected, 0) AS rows_rejected,
       coalesce(l.rows_skipped, 0) AS rows_skipped
FROM ops.backfill_partitions AS p
LEFT JOIN (
    SELECT DISTINCT ON (r.backfill_id, o.window_key) r.backfill_id, o.*
    FROM ops.backfill_runs AS r
    JOIN ops.backfills AS b ON b.backfill_id = r.backfill_id
    JOIN ops.loads AS o ON o.run_id = r.run_id AND o.target = b.target AND o.scope = b.scope
    ORDER BY r.backfill_id, o.window_key,
             (o.state = 'skipped' AND o.reason IS NOT DISTINCT FROM 'already_present'),
             o.load_id DESC
) AS l ON l.backfill_id = p.backfill_id AND l.window_key = p.partition_key;
COMMENT ON VIEW ops.backfill_outcomes IS 'Each partition of each backfill with the load that counts; state waiting where there is none.';
