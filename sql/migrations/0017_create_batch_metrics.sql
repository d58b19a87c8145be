-- What each batch of a stream took and did, for percentiles and plots; the ledger is ops.loads.
CREATE TABLE ops.batch_metrics (
    batch_id           bigint      GENERATED ALWAYS AS IDENTITY,
    target             text        NOT NULL,
    shard              smallint    NOT NULL,
    origin             text        NOT NULL,
    load_id            bigint      NOT NULL,
    row_count          bigint      NOT NULL,
    inserted           bigint      NOT NULL DEFAULT 0,
    updated            bigint      NOT NULL DEFAULT 0,
    unchanged          bigint      NOT NULL DEFAULT 0,
    duplicate          bigint      NOT NULL DEFAULT 0,
    rejected           bigint      NOT NULL DEFAULT 0,
    is_committed       boolean     NOT NULL,
    seconds            double precision NOT NULL,
    database_seconds   double precision NOT NULL,
    alert_seconds      double precision NOT NULL DEFAULT 0,
    outbox_seconds     double precision NOT NULL DEFAULT 0,
    waited_seconds     double precision,
    finished_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    success_ratio      double precision GENERATED ALWAYS AS (
        CASE WHEN row_count = 0 THEN 1
             WHEN is_committed THEN (row_count - rejected)::double precision / row_count
             ELSE 0 END) STORED,
    rows_per_second    double precision GENERATED ALWAYS AS (
        CASE WHEN is_committed THEN row_count / greatest(seconds, 1e-6) ELSE 0 END) STORED,
    CONSTRAINT batch_metrics_pkey PRIMARY KEY (batch_id),
    CONSTRAINT batch_metrics_origin_is_known CHECK (origin IN ('inbox', 'file'))
);
-- Batches end in the order of their numbers, nearly: a few bytes find the last hour.
CREATE INDEX batch_metrics_by_end ON ops.batch_metrics USING brin (finished_at);
COMMENT ON TABLE ops.batch_metrics IS 'One row per batch of a stream, written right after its commit: a crash in between costs this row, never the batch.';
COMMENT ON COLUMN ops.batch_metrics.is_committed IS 'False for an attempt that was rolled back; its rows come again in other batches.';
COMMENT ON COLUMN ops.batch_metrics.seconds IS 'From taking the rows to the end of the commit.';
COMMENT ON COLUMN ops.batch_metrics.database_seconds IS 'The part of it that statements and the commit took, without those of alerts and outbox.';
COMMENT ON COLUMN ops.batch_metrics.waited_seconds IS 'How long its oldest record had waited when the batch was taken; NULL for files.';

CREATE VIEW ops.batch_metrics_hourly AS
SELECT
    target,
    shard,
    date_trunc('hour', finished_at) AS hour,
    count(*) AS batches,
    count(*) FILTER (WHERE NOT is_committed) AS rolled_back,
    coalesce(sum(row_count) FILTER (WHERE is_committed), 0)::bigint AS row_count,
    coalesce(sum(duplicate) FILTER (WHERE is_committed), 0)::bigint AS duplicate,
    coalesce(sum(rejected) FILTER (WHERE is_committed), 0)::bigint AS rejected,
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY seconds) AS seconds_p50_p95_p99,
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY database_seconds) AS database_seconds_p50_p95_p99,
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY waited_seconds) AS waited_seconds_p50_p95_p99,
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY rows_per_second) FILTER (WHERE is_committed) AS rows_per_second_p50_p95_p99
FROM ops.batch_metrics
GROUP BY target, shard, date_trunc('hour', finished_at);
COMMENT ON VIEW ops.batch_metrics_hourly IS 'Batches by target, shard and hour, with percentiles as arrays of p50, p95 and p99.';

-- A queue: rows come and go by the second. Dead ones at its front are read again by every batch
-- until they are vacuumed away, so that is done by their number, whatever is waiting.
ALTER TABLE devices.inbox SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000
);
