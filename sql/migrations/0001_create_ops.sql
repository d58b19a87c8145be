-- The ledger: every load, what it did to every window, and every row that was not loaded.
CREATE SCHEMA ops;
COMMENT ON SCHEMA ops IS 'Loads, windows, leases, checkpoints and dead letters of batch_assets.';

-- Written by the migrator in the transaction of each migration, from this one on.
CREATE TABLE ops.schema_migrations (
    version            integer     NOT NULL,
    name               text        NOT NULL,
    checksum           text        NOT NULL,
    applied_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_seconds    double precision NOT NULL,
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
);
COMMENT ON TABLE ops.schema_migrations IS 'One row per migration file applied to this database.';
COMMENT ON COLUMN ops.schema_migrations.checksum IS 'SHA-256 of the file with LF line ends; an applied file must not be edited.';

-- Staging tables of windows larger than one chunk; emptied when the window is published.
CREATE SCHEMA staging;
COMMENT ON SCHEMA staging IS 'Persistent staging tables of loads in progress; safe to drop when no lease is held.';

CREATE TABLE ops.loads (
    load_id            bigint      GENERATED ALWAYS AS IDENTITY,
    target             text        NOT NULL,
    scope              text        NOT NULL DEFAULT '',
    window_key         text        NOT NULL,
    resource           text        NOT NULL,
    state              text        NOT NULL DEFAULT 'running',
    reason             text,
    recognised_by      text,
    publish_path       text,
    rows_read          bigint      NOT NULL DEFAULT 0,
    rows_inserted      bigint      NOT NULL DEFAULT 0,
    rows_updated       bigint      NOT NULL DEFAULT 0,
    rows_unchanged     bigint      NOT NULL DEFAULT 0,
    rows_duplicate     bigint      NOT NULL DEFAULT 0,
    rows_rejected      bigint      NOT NULL DEFAULT 0,
    rows_skipped       bigint      NOT NULL DEFAULT 0,
    rows_deleted       bigint      NOT NULL DEFAULT 0,
    rows_before        bigint,
    rows_after         bigint,
    source_file        text,
    source_hash        text,
    content_hash       text,
    contract_version   text,
    lease_token        bigint,
    run_id             text,
    error_class        text,
    error_message      text,
    is_retryable       boolean,
    started_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at        timestamptz,
    metrics            jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT loads_pkey PRIMARY KEY (load_id),
    CONSTRAINT loads_state_is_known CHECK (state IN (
        'running', 'success', 'failed', 'skipped', 'partial', 'not_ready', 'unconfirmed_empty')),
    CONSTRAINT loads_recognised_by_is_known CHECK (recognised_by IN ('source_hash', 'content_hash', 'difference')),
    CONSTRAINT loads_publish_path_is_known CHECK (publish_path IN ('none', 'direct', 'merge')),
    -- Promise P1: no load may be called a success while a row it read is unaccounted for.
    CONSTRAINT loads_ledger_balances CHECK (
        state NOT IN ('success', 'partial')
        OR rows_read = rows_inserted + rows_updated + rows_unchanged
                     + rows_duplicate + rows_rejected + rows_skipped),
    CONSTRAINT loads_target_balances CHECK (
        rows_after IS NULL OR rows_after = rows_before + rows_inserted - rows_deleted)
);
CREATE INDEX loads_by_resource ON ops.loads (resource, load_id DESC);
CREATE INDEX loads_running ON ops.loads (resource) WHERE state = 'running';

COMMENT ON TABLE ops.loads IS 'One row per attempt to load one window: the row ledger and its outcome.';
COMMENT ON COLUMN ops.loads.resource IS 'target/scope/window_key: what one writer at a time may write.';
COMMENT ON COLUMN ops.loads.state IS 'running, success, failed, skipped, partial, not_ready or unconfirmed_empty.';
COMMENT ON COLUMN ops.loads.reason IS 'Why the state is what it is, from a closed set per domain (not_a_session).';
COMMENT ON COLUMN ops.loads.recognised_by IS 'How unchanged input was recognised: source_hash (not parsed), content_hash (not written), difference (row by row).';
COMMENT ON COLUMN ops.loads.rows_read IS 'Rows counted by the reader alone.';
COMMENT ON COLUMN ops.loads.metrics IS 'Seconds per stage, bytes, chunk size, reasons by rule and warnings.';

-- What is known of each window after its last publish; this is how a second run recognises it.
CREATE TABLE ops.windows (
    target             text        NOT NULL,
    scope              text        NOT NULL DEFAULT '',
    window_key         text        NOT NULL,
    starts_at          timestamptz,
    ends_at            timestamptz,
    version            bigint      NOT NULL DEFAULT 1,
    published_version  bigint      NOT NULL DEFAULT 1,
    row_count          bigint      NOT NULL,
    source_hash        text,
    content_hash       text,
    contract_version   text        NOT NULL,
    load_id            bigint      NOT NULL,
    published_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT windows_pkey PRIMARY KEY (target, scope, window_key)
);
COMMENT ON TABLE ops.windows IS 'One row per window ever published: hashes, row count and version.';
COMMENT ON COLUMN ops.windows.version IS 'Raised by every write through the core that touches the window.';
COMMENT ON COLUMN ops.windows.published_version IS 'The version at which source_hash and content_hash were true.';

CREATE TABLE ops.dead_letters (
    dead_letter_id     bigint      GENERATED ALWAYS AS IDENTITY,
    fingerprint        text        NOT NULL,
    load_id            bigint      NOT NULL,
    target             text        NOT NULL,
    scope              text        NOT NULL DEFAULT '',
    window_key         text        NOT NULL,
    source_file        text        NOT NULL,
    row_number         bigint      NOT NULL,
    rule               text        NOT NULL,
    violations         jsonb       NOT NULL,
    original           jsonb       NOT NULL,
    state              text        NOT NULL DEFAULT 'open',
    seen_count         integer     NOT NULL DEFAULT 1,
    first_seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at        timestamptz,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (dead_letter_id),
    CONSTRAINT dead_letters_state_is_known CHECK (state IN ('open', 'superseded', 'replayed', 'discarded'))
);
-- The same bad row met again is the same dead letter.
CREATE UNIQUE INDEX dead_letters_open_once ON ops.dead_letters (target, scope, window_key, fingerprint) WHERE state = 'open';
CREATE INDEX dead_letters_by_load ON ops.dead_letters (load_id);
COMMENT ON TABLE ops.dead_letters IS 'Rows that were not loaded, with their original values, the reason and where they came from.';
COMMENT ON COLUMN ops.dead_letters.violations IS 'Array of {rule, column, observed, expected, hint}; the first names the reason.';
COMMENT ON COLUMN ops.dead_letters.state IS 'open; superseded when a later load of the window no longer has the row; replayed; discarded.';

-- Progress inside one window that is larger than a chunk; goes when the window is published.
CREATE TABLE ops.checkpoints (
    resource           text        NOT NULL,
    chunk_no           integer     NOT NULL,
    source_hash        text        NOT NULL,
    contract_version   text        NOT NULL,
    load_id            bigint      NOT NULL,
    staged_rows        bigint      NOT NULL,
    rows_read          bigint      NOT NULL,
    rows_rejected      bigint      NOT NULL,
    rows_skipped       bigint      NOT NULL,
    position           jsonb       NOT NULL,
    broken_rules       jsonb       NOT NULL DEFAULT '{}',
    committed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT checkpoints_pkey PRIMARY KEY (resource, chunk_no)
);
COMMENT ON TABLE ops.checkpoints IS 'Chunks already staged for a window, committed together with their rows.';
COMMENT ON COLUMN ops.checkpoints.position IS 'Where the source continues after this chunk.';

-- Who may write a window. Tokens only rise, over all windows, so a released lease may be deleted.
CREATE SEQUENCE ops.lease_tokens;
CREATE TABLE ops.leases (
    resource           text        NOT NULL,
    holder             text        NOT NULL,
    token              bigint      NOT NULL DEFAULT nextval('ops.lease_tokens'),
    backend_pid        integer     NOT NULL,
    backend_start      timestamptz NOT NULL,
    acquired_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at         timestamptz NOT NULL,
    CONSTRAINT leases_pkey PRIMARY KEY (resource),
    -- Lets the publisher lock (resource, token) FOR KEY SHARE: heartbeats pass, a takeover waits.
    CONSTRAINT leases_token_is_unique UNIQUE (resource, token)
);
ALTER SEQUENCE ops.lease_tokens OWNED BY ops.leases.token;
COMMENT ON TABLE ops.leases IS 'One row per window being written now; released leases are deleted.';
COMMENT ON COLUMN ops.leases.token IS 'Fencing token: publishing with any other token is refused.';
COMMENT ON COLUMN ops.leases.backend_pid IS 'PostgreSQL backend that publishes; a takeover ends it first.';
