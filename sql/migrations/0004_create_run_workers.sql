-- Which process answers for a Dagster run. A process that is killed cannot report its end; it is
-- found by this row, and what it held is given back.
CREATE TABLE ops.run_workers (
    run_id             text        NOT NULL,
    stage              text        NOT NULL,
    host               text        NOT NULL,
    machine_id         text        NOT NULL,
    boot_id            text        NOT NULL,
    pid_namespace      text        NOT NULL,
    pid                integer     NOT NULL,
    process_start      text        NOT NULL,
    recorded_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT run_workers_pkey PRIMARY KEY (run_id),
    CONSTRAINT run_workers_stage_is_known CHECK (stage IN ('created', 'launching', 'working'))
);
COMMENT ON TABLE ops.run_workers IS 'One row per Dagster run: the process that answers for it.';
COMMENT ON COLUMN ops.run_workers.stage IS 'created (by the process named here), launching (by it), working (in it); a later stage replaces an earlier one.';
COMMENT ON COLUMN ops.run_workers.machine_id IS 'Of the operating system, empty where it has none; tells a restarted machine from another one of the same name.';
COMMENT ON COLUMN ops.run_workers.boot_id IS 'Of the running kernel, empty where it has none; process ids mean nothing beyond it.';
COMMENT ON COLUMN ops.run_workers.pid_namespace IS 'Whose process ids these are (containers have their own), empty where there is none.';
COMMENT ON COLUMN ops.run_workers.process_start IS 'When the process started, as the kernel counts; tells it from a later process of the same id.';
