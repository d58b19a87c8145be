-- What a run meant to do and what it did, and the symbols a vendor still owes.
CREATE TABLE ops.plans (
    plan_id            bigint      GENERATED ALWAYS AS IDENTITY,
    target             text        NOT NULL,
    scope              text        NOT NULL,
    feed               text        NOT NULL,
    run_id             text,
    first_key          text        NOT NULL,
    last_key           text        NOT NULL,
    route              text        NOT NULL,
    symbols            text[],
    is_forced          boolean     NOT NULL,
    windows_asked      integer     NOT NULL,
    windows_needed     integer     NOT NULL,
    planned_calls      bigint      NOT NULL,
    planned_rows       bigint,
    planned_seconds    double precision,
    planned_seconds_p90 double precision,
    tokens_left        double precision,
    planned_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at        timestamptz,
    made_calls         bigint,
    read_rows          bigint,
    seconds            double precision,
    CONSTRAINT plans_pkey PRIMARY KEY (plan_id),
    CONSTRAINT plans_route_is_known CHECK (route IN ('by_day', 'by_symbol_range', 'files')),
    CONSTRAINT plans_end_whole CHECK (
        (finished_at IS NULL) = (made_calls IS NULL)
        AND (finished_at IS NULL) = (read_rows IS NULL)
        AND (finished_at IS NULL) = (seconds IS NULL))
);
CREATE INDEX plans_by_scope ON ops.plans (target, scope, plan_id DESC);
CREATE INDEX plans_by_run ON ops.plans (run_id);
COMMENT ON TABLE ops.plans IS 'One row per run of a market feed: planned and actual calls, rows and seconds. finished_at stays NULL where the run was killed.';
COMMENT ON COLUMN ops.plans.route IS 'How most windows are fetched: one call a day, one call a symbol for the range, or from files.';
COMMENT ON COLUMN ops.plans.symbols IS 'The symbols the run was restricted to; NULL for all.';
COMMENT ON COLUMN ops.plans.planned_seconds IS 'From the calls of earlier runs, never less than the limit of the vendor allows; NULL without history.';
COMMENT ON COLUMN ops.plans.tokens_left IS 'Calls the vendor''s limit allowed at once when the plan was made; NULL without a limit.';

CREATE TABLE ops.plan_windows (
    plan_id            bigint      NOT NULL,
    window_key         text        NOT NULL,
    why                text        NOT NULL,
    is_needed          boolean     NOT NULL,
    load_id            bigint,
    state              text,
    CONSTRAINT plan_windows_pkey PRIMARY KEY (plan_id, window_key)
);
CREATE INDEX plan_windows_by_load ON ops.plan_windows (load_id);
COMMENT ON TABLE ops.plan_windows IS 'Why a run looked at each of its windows, and the load that came of it.';
COMMENT ON COLUMN ops.plan_windows.why IS 'missing, failed, partial, failed_symbols, changed_source, correction_window, already_present, not_a_session and others.';

-- Vendors that are asked by symbol owe the days of a question that failed. Days are a multirange:
-- a year of a symbol is one row, and a later answer for a part of it takes that part away.
CREATE TABLE market.failed_symbols (
    failed_symbol_id   bigint      GENERATED ALWAYS AS IDENTITY,
    source             text        NOT NULL,
    symbol             text        NOT NULL,
    asked_days         daterange   NOT NULL,
    owed_days          datemultirange NOT NULL,
    run_id             text,
    error_class        text        NOT NULL,
    error_message      text        NOT NULL,
    is_retryable       boolean     NOT NULL,
    failed_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    answered_at        timestamptz,
    CONSTRAINT failed_symbols_pkey PRIMARY KEY (failed_symbol_id)
);
CREATE INDEX failed_symbols_owed ON market.failed_symbols (source, symbol) WHERE NOT isempty(owed_days);
COMMENT ON TABLE market.failed_symbols IS 'Every question for a symbol that failed. A day that one of them still owes is partial.';
COMMENT ON COLUMN market.failed_symbols.owed_days IS 'Days of the question that no later one has answered; empty when all are there, or were asked for by a run of chosen symbols.';
COMMENT ON COLUMN market.failed_symbols.answered_at IS 'When the last owed day was answered, or asked for again in a question with a row of its own.';
