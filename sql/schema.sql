-- The schema after all migrations. Do not edit: a test compares it with a migrated database.
-- Write it again with `python -m batch_assets_tests.postgres.write_schema_file`.

-- Functions may name views, which come after them.
SET check_function_bodies = off;

CREATE SCHEMA devices;
CREATE SCHEMA documents;
CREATE SCHEMA market;
CREATE SCHEMA ops;
CREATE SCHEMA staging;

CREATE SEQUENCE documents.document_ids AS bigint INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;
CREATE OR REPLACE FUNCTION documents.search(query text, max_hits integer DEFAULT 20, only_source text DEFAULT NULL::text)
 RETURNS TABLE(document_id bigint, source text, path text, title text, ordinal integer, segment_kind text, segment_from integer, segment_to integer, start_offset integer, end_offset integer, rank real, text text)
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT
        d.document_id,
        d.source,
        d.path,
        d.title,
        c.ordinal,
        c.segment_kind,
        c.segment_from,
        c.segment_to,
        c.start_offset,
        c.end_offset,
        -- 1: a long piece is not better for being long.
        ts_rank_cd(c.search_vector, documents.search_query(query), 1) AS rank,
        c.text
    FROM documents.chunks AS c
    JOIN documents.documents AS d ON d.document_id = c.document_id
    WHERE c.search_vector @@ documents.search_query(query)
      AND d.is_current
      AND d.deleted_at IS NULL
      AND (only_source IS NULL OR d.source = only_source)
    ORDER BY rank DESC, d.document_id, c.ordinal
    LIMIT max_hits
$function$;
CREATE OR REPLACE FUNCTION documents.search_query(query text)
 RETURNS tsquery
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
DECLARE
    unspaced CONSTANT text := '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]';
    part text[];
    pieces text[];
    piece text;
    word text;
    words text[];
    lexeme tsquery;
    phrase tsquery;
    distance integer;
    result tsquery;
BEGIN
    FOR part IN SELECT regexp_matches(normalize(query, NFKC), '(-?)(?:"([^"]*)"?|([^\s"]+))', 'g') LOOP
        -- Punctuation between characters without spaces ends a sentence, not a word: both sides
        -- have to be there, and need not touch.
        pieces := CASE
            WHEN part[3] ~ unspaced THEN regexp_split_to_array(part[3], '[\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u3004\u3008-\u303f]+')
            ELSE ARRAY[coalesce(part[2], part[3])]
        END;
        FOREACH piece IN ARRAY pieces LOOP
            words := array_remove(regexp_split_to_array(documents.search_terms(piece), '\s+'), '');
            -- The last character of a run stands alone in the index; in the text the run may go on.
            IF cardinality(words) > 1 AND words[cardinality(words)] ~ ('^' || unspaced || '$')
                    AND words[cardinality(words) - 1] ~ ('^' || unspaced || '{2}$') THEN
                words := words[:cardinality(words) - 1];
            END IF;
            phrase := NULL;
            distance := 1;
            FOR place IN 1 .. cardinality(words) LOOP
                word := words[place];
                IF word ~ ('^' || unspaced || '$') AND place = cardinality(words) THEN
                    lexeme := (quote_literal(word) || ':*')::tsquery;
                ELSE
                    lexeme := plainto_tsquery('pg_catalog.english'::regconfig, word);
                END IF;
                IF numnode(lexeme) = 0 THEN
                    -- A stop word is not in the index, but holds its place in a phrase.
                    distance := distance + 1;
                ELSIF phrase IS NULL THEN
                    phrase := lexeme;
                    distance := 1;
                ELSE
                    phrase := tsquery_phrase(phrase, lexeme, distance);
                    distance := 1;
                END IF;
            END LOOP;
            IF phrase IS NOT NULL THEN
                IF part[1] = '-' THEN
                    phrase := !! phrase;
                END IF;
                result := CASE WHEN result IS NULL THEN phrase ELSE result && phrase END;
            END IF;
        END LOOP;
    END LOOP;
    RETURN result;
END
$function$;
CREATE OR REPLACE FUNCTION documents.search_terms(content text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
    SELECT
        CASE
            WHEN t.plain ~ '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]'
                THEN regexp_replace(
                    regexp_replace(
                        regexp_replace(
                            t.plain,
                            '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff])',
                            '\1\1', 'g'),
                        '(^|[^\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff])[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]',
                        '\1 ', 'g'),
                    '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]{1,2})',
                    '\1 ', 'g')
            ELSE t.plain
        END
    FROM (
        SELECT
            regexp_replace(
                -- Soft hyphens and characters without width stand inside of words.
                translate(normalize(content, NFKC), U&'\00AD\200B\200C\200D\2060\FEFF', ''),
                '[\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u2190-\u2bff\u3000-\u3004\u3008-\u303f\ufe30-\ufe6f\uff00-\uff0f]+',
                ' ', 'g') AS plain
    ) AS t
$function$;
CREATE OR REPLACE FUNCTION documents.search_vector(content text)
 RETURNS tsvector
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
    SELECT to_tsvector('pg_catalog.english'::regconfig, documents.search_terms(content))
$function$;
CREATE SEQUENCE ops.lease_tokens AS bigint INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;
CREATE OR REPLACE FUNCTION ops.tells_row_versions(target regclass)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
    WITH RECURSIVE parts AS (
        SELECT target::oid AS oid
        UNION
        SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN parts AS p ON i.inhparent = p.oid
    )
    SELECT coalesce(bool_and((c.relkind = 'p' OR c.relkind = 'r' AND m.amname = 'heap')
                             AND NOT c.relhasrules
                             AND NOT c.relrowsecurity
                             AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS g
                                             WHERE g.tgrelid = c.oid
                                               AND NOT g.tgisinternal
                                               AND g.tgenabled <> 'D')), false)
    FROM parts AS p
    JOIN pg_catalog.pg_class AS c ON c.oid = p.oid
    LEFT JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
$function$;

CREATE TABLE devices.alert_runs (
    device_sn text COLLATE "C" NOT NULL,
    rule text COLLATE "C" NOT NULL,
    measured_at timestamp with time zone NOT NULL,
    run_count bigint NOT NULL,
    run_since timestamp with time zone,
    prior_count bigint NOT NULL,
    prior_since timestamp with time zone,
    CONSTRAINT alert_runs_pkey PRIMARY KEY (device_sn, rule)
);

CREATE TABLE devices.alerts (
    alert_id bigint GENERATED ALWAYS AS IDENTITY,
    device_sn text COLLATE "C" NOT NULL,
    rule text COLLATE "C" NOT NULL,
    metric text COLLATE "C" NOT NULL,
    severity text COLLATE "C" NOT NULL,
    value numeric NOT NULL,
    allowed text NOT NULL,
    broken_since timestamp with time zone NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    resolved_at timestamp with time zone,
    resolution text COLLATE "C",
    load_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT alerts_pkey PRIMARY KEY (alert_id),
    CONSTRAINT alerts_resolution_is_known CHECK ((resolution = ANY (ARRAY['normal'::text, 'not_watched'::text]))),
    CONSTRAINT alerts_resolution_says_why CHECK (((resolved_at IS NULL) = (resolution IS NULL)))
);

CREATE TABLE devices.daily_rollups (
    device_sn text COLLATE "C" NOT NULL,
    day date NOT NULL,
    record_count bigint NOT NULL,
    heart_rate_sum numeric NOT NULL,
    heart_rate_count bigint NOT NULL,
    heart_rate_min numeric(5,2),
    heart_rate_max numeric(5,2),
    spo2_sum numeric NOT NULL,
    spo2_count bigint NOT NULL,
    spo2_min numeric(5,2),
    temperature_sum numeric NOT NULL,
    temperature_count bigint NOT NULL,
    temperature_max numeric(5,2),
    systolic_sum numeric NOT NULL,
    systolic_count bigint NOT NULL,
    systolic_max numeric(5,2),
    diastolic_sum numeric NOT NULL,
    diastolic_count bigint NOT NULL,
    diastolic_max numeric(5,2),
    steps integer,
    sleep_minutes integer,
    CONSTRAINT daily_rollups_pkey PRIMARY KEY (device_sn, day)
);

CREATE TABLE devices.daily_supplied (
    device_sn text COLLATE "C" NOT NULL,
    day date NOT NULL,
    heart_rate_bpm numeric(5,2),
    spo2_pct numeric(5,2),
    temperature_celsius numeric(5,2),
    systolic_mmhg numeric(5,2),
    diastolic_mmhg numeric(5,2),
    steps integer,
    sleep_minutes integer,
    extra jsonb,
    load_id bigint NOT NULL,
    CONSTRAINT daily_supplied_pkey PRIMARY KEY (device_sn, day)
);

CREATE TABLE devices.file_progress (
    file_id bigint NOT NULL,
    map_version bigint NOT NULL,
    shard smallint NOT NULL,
    buckets smallint[] NOT NULL,
    last_row bigint NOT NULL,
    CONSTRAINT file_progress_pkey PRIMARY KEY (file_id, map_version, shard)
);

CREATE TABLE devices.files (
    file_id bigint GENERATED ALWAYS AS IDENTITY,
    path text COLLATE "C" NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    size_bytes bigint NOT NULL,
    state text COLLATE "C" DEFAULT 'waiting'::text NOT NULL,
    reason text,
    first_seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    modified_ns bigint DEFAULT 0 NOT NULL,
    arrival_day date GENERATED ALWAYS AS (((LEAST(to_timestamp(((modified_ns)::double precision / ('1000000000'::numeric)::double precision)), first_seen_at) AT TIME ZONE 'UTC'::text))::date) STORED NOT NULL,
    CONSTRAINT files_pkey PRIMARY KEY (file_id),
    CONSTRAINT files_content_is_loaded_once UNIQUE (path, sha256),
    CONSTRAINT files_state_is_known CHECK ((state = ANY (ARRAY['waiting'::text, 'done'::text, 'failed'::text])))
);

CREATE TABLE devices.inbox (
    inbox_id bigint GENERATED ALWAYS AS IDENTITY,
    bucket smallint NOT NULL,
    body text NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT inbox_pkey PRIMARY KEY (inbox_id),
    CONSTRAINT inbox_bucket_is_known CHECK (((bucket >= 0) AND (bucket <= 255)))
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=50000, autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=20000);

CREATE TABLE devices.latest (
    device_sn text COLLATE "C" NOT NULL,
    measured_at timestamp with time zone NOT NULL,
    heart_rate_bpm numeric(5,2),
    spo2_pct numeric(5,2),
    temperature_celsius numeric(5,2),
    systolic_mmhg numeric(5,2),
    diastolic_mmhg numeric(5,2),
    steps integer,
    sleep_minutes integer,
    extra jsonb,
    load_id bigint NOT NULL,
    CONSTRAINT latest_pkey PRIMARY KEY (device_sn)
);

CREATE TABLE devices.outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY,
    destination text COLLATE "C" NOT NULL,
    bucket smallint NOT NULL,
    device_sn text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    payload jsonb NOT NULL,
    load_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone,
    last_error text,
    dead_at timestamp with time zone,
    CONSTRAINT outbox_pkey PRIMARY KEY (outbox_id),
    CONSTRAINT outbox_bucket_is_known CHECK (((bucket >= 0) AND (bucket <= 255))),
    CONSTRAINT outbox_destination_is_known CHECK ((destination = ANY (ARRAY['redis'::text, 'webhook'::text]))),
    CONSTRAINT outbox_kind_is_known CHECK ((kind = ANY (ARRAY['state'::text, 'alert_opened'::text, 'alert_resolved'::text])))
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=50000, autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=20000);

CREATE TABLE devices.records (
    device_sn text COLLATE "C" NOT NULL,
    measured_at timestamp with time zone NOT NULL,
    heart_rate_bpm numeric(5,2),
    spo2_pct numeric(5,2),
    temperature_celsius numeric(5,2),
    systolic_mmhg numeric(5,2),
    diastolic_mmhg numeric(5,2),
    steps integer,
    sleep_minutes integer,
    extra jsonb,
    load_id bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT records_pkey PRIMARY KEY (device_sn, measured_at)
);

CREATE TABLE devices.shadow_buckets (
    bucket smallint NOT NULL,
    live_function text COLLATE "C",
    shadow_function text COLLATE "C",
    previous_function text COLLATE "C",
    is_switched boolean DEFAULT false NOT NULL,
    compared_rows bigint DEFAULT 0 NOT NULL,
    differing_rows bigint DEFAULT 0 NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT shadow_buckets_pkey PRIMARY KEY (bucket),
    CONSTRAINT shadow_buckets_bucket_is_known CHECK (((bucket >= 0) AND (bucket <= 255)))
);

CREATE TABLE devices.shadow_differences (
    difference_id bigint GENERATED ALWAYS AS IDENTITY,
    bucket smallint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    device_sn text COLLATE "C",
    measured_at timestamp with time zone,
    stored jsonb,
    shadow jsonb,
    reason text,
    row_count bigint DEFAULT 1 NOT NULL,
    load_id bigint NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT shadow_differences_pkey PRIMARY KEY (difference_id),
    CONSTRAINT shadow_differences_kind_is_known CHECK ((kind = ANY (ARRAY['changed'::text, 'missing'::text, 'failed'::text])))
);

CREATE TABLE devices.shard_map (
    bucket smallint NOT NULL,
    shard smallint NOT NULL,
    CONSTRAINT shard_map_pkey PRIMARY KEY (bucket),
    CONSTRAINT shard_map_has_256_buckets CHECK (((bucket >= 0) AND (bucket <= 255))),
    CONSTRAINT shard_map_shards_are_counted_from_zero CHECK (((shard >= 0) AND (shard <= 255)))
);

CREATE TABLE devices.shard_map_version (
    version bigint NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT shard_map_version_pkey PRIMARY KEY (version)
);

CREATE TABLE devices.weekly_supplied (
    device_sn text COLLATE "C" NOT NULL,
    week date NOT NULL,
    heart_rate_bpm numeric(5,2),
    spo2_pct numeric(5,2),
    temperature_celsius numeric(5,2),
    systolic_mmhg numeric(5,2),
    diastolic_mmhg numeric(5,2),
    steps integer,
    sleep_minutes integer,
    extra jsonb,
    load_id bigint NOT NULL,
    CONSTRAINT weekly_supplied_pkey PRIMARY KEY (device_sn, week),
    CONSTRAINT weekly_supplied_begins_on_monday CHECK ((EXTRACT(isodow FROM week) = (1)::numeric))
);

CREATE TABLE documents.chunks (
    document_id bigint NOT NULL,
    ordinal integer NOT NULL,
    segment_kind text COLLATE "C" NOT NULL,
    segment_from integer NOT NULL,
    segment_to integer NOT NULL,
    start_offset integer NOT NULL,
    end_offset integer NOT NULL,
    text text NOT NULL,
    load_id bigint NOT NULL,
    search_vector tsvector GENERATED ALWAYS AS (documents.search_vector(text)) STORED,
    CONSTRAINT chunks_pkey PRIMARY KEY (document_id, ordinal),
    CONSTRAINT chunks_are_as_long_as_their_offsets_say CHECK (((end_offset - start_offset) = length(text))),
    CONSTRAINT chunks_segments_are_in_order CHECK ((segment_from <= segment_to))
);

CREATE TABLE documents.documents (
    document_id bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    is_current boolean DEFAULT true NOT NULL,
    deleted_at timestamp with time zone,
    arrival_day date NOT NULL,
    sha256 text COLLATE "C",
    size_bytes bigint NOT NULL,
    modified_at timestamp with time zone,
    outcome text COLLATE "C" NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    media_type text COLLATE "C",
    title text,
    author text,
    created_at timestamp with time zone,
    changed_at timestamp with time zone,
    language text COLLATE "C",
    segment_kind text COLLATE "C",
    segment_count integer DEFAULT 0 NOT NULL,
    character_count bigint DEFAULT 0 NOT NULL,
    chunk_count integer DEFAULT 0 NOT NULL,
    notes text DEFAULT ''::text NOT NULL,
    removed_characters integer DEFAULT 0 NOT NULL,
    parser text COLLATE "C",
    parser_version text COLLATE "C",
    fingerprint text COLLATE "C",
    parse_seconds double precision,
    peak_memory_bytes bigint,
    load_id bigint NOT NULL,
    ingested_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT documents_pkey PRIMARY KEY (document_id),
    CONSTRAINT documents_version_is_unique UNIQUE (source, path, version),
    CONSTRAINT documents_without_text_have_no_chunks CHECK (((outcome = 'ok'::text) OR (chunk_count = 0)))
);

CREATE TABLE documents.files (
    source text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    arrival_day date NOT NULL,
    size_bytes bigint NOT NULL,
    modified_ns bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    outcome text COLLATE "C",
    reason text,
    sha256 text COLLATE "C",
    document_id bigint,
    attempts integer DEFAULT 0 NOT NULL,
    claimed_by bigint,
    load_id bigint,
    first_seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    looked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT files_pkey PRIMARY KEY (source, path),
    CONSTRAINT files_done_are_ok CHECK (((state = 'done'::text) = ((NOT (outcome IS DISTINCT FROM 'ok'::text)) AND (state <> 'deleted'::text)))),
    CONSTRAINT files_state_is_known CHECK ((state = ANY (ARRAY['growing'::text, 'waiting'::text, 'done'::text, 'failed'::text, 'deleted'::text]))),
    CONSTRAINT files_that_end_have_an_outcome CHECK (((state <> ALL (ARRAY['done'::text, 'failed'::text])) OR (outcome IS NOT NULL)))
);

CREATE TABLE documents.texts (
    document_id bigint NOT NULL,
    text text NOT NULL,
    load_id bigint NOT NULL,
    CONSTRAINT texts_pkey PRIMARY KEY (document_id)
);

CREATE TABLE documents.upload_files (
    batch_id uuid NOT NULL,
    number integer NOT NULL,
    source text COLLATE "C" NOT NULL,
    name text NOT NULL,
    path text COLLATE "C",
    refused_outcome text COLLATE "C",
    refused_reason text,
    sha256 text COLLATE "C",
    size_bytes bigint NOT NULL,
    modified_ns bigint NOT NULL,
    CONSTRAINT upload_files_pkey PRIMARY KEY (batch_id, number),
    CONSTRAINT upload_files_are_somewhere_or_refused CHECK (((path IS NULL) = (refused_outcome IS NOT NULL)))
);

CREATE TABLE documents.uploads (
    batch_id uuid NOT NULL,
    source text COLLATE "C" NOT NULL,
    actor text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    total_docs integer NOT NULL,
    CONSTRAINT uploads_pkey PRIMARY KEY (batch_id),
    CONSTRAINT uploads_are_not_empty CHECK ((total_docs > 0))
);

CREATE TABLE market.adjustment_factors (
    source text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    ex_date date NOT NULL,
    factor numeric(24,12) NOT NULL,
    revision integer DEFAULT 1 NOT NULL,
    load_id bigint NOT NULL,
    CONSTRAINT adjustment_factors_pkey PRIMARY KEY (source, symbol, ex_date),
    CONSTRAINT adjustment_factors_are_positive CHECK ((factor > (0)::numeric))
);

CREATE TABLE market.daily_bars (
    source text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    trade_date date NOT NULL,
    open numeric(20,6),
    high numeric(20,6),
    low numeric(20,6),
    close numeric(20,6),
    pre_close numeric(20,6),
    volume numeric(24,8) NOT NULL,
    amount numeric(24,4),
    adjustment text COLLATE "C" DEFAULT 'raw'::text NOT NULL,
    status text COLLATE "C" DEFAULT 'traded'::text NOT NULL,
    revision integer DEFAULT 1 NOT NULL,
    load_id bigint NOT NULL,
    CONSTRAINT daily_bars_pkey PRIMARY KEY (source, trade_date, symbol),
    CONSTRAINT daily_bars_adjustment_is_known CHECK ((adjustment = ANY (ARRAY['raw'::text, 'qfq'::text, 'hfq'::text]))),
    CONSTRAINT daily_bars_status_is_known CHECK ((status = ANY (ARRAY['traded'::text, 'suspended'::text, 'no_trade'::text])))
) PARTITION BY RANGE (trade_date);

CREATE TABLE market.daily_bars_history (
    source text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    trade_date date NOT NULL,
    open numeric(20,6),
    high numeric(20,6),
    low numeric(20,6),
    close numeric(20,6),
    pre_close numeric(20,6),
    volume numeric(24,8) NOT NULL,
    amount numeric(24,4),
    adjustment text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    revision integer NOT NULL,
    load_id bigint NOT NULL,
    known_from timestamp with time zone NOT NULL,
    known_to timestamp with time zone NOT NULL,
    superseded_by bigint NOT NULL,
    CONSTRAINT daily_bars_history_pkey PRIMARY KEY (source, trade_date, symbol, superseded_by),
    CONSTRAINT daily_bars_history_ends_after_it_begins CHECK ((known_from <= known_to))
);

CREATE TABLE market.failed_symbols (
    failed_symbol_id bigint GENERATED ALWAYS AS IDENTITY,
    source text NOT NULL,
    symbol text NOT NULL,
    asked_days daterange NOT NULL,
    owed_days datemultirange NOT NULL,
    run_id text,
    error_class text NOT NULL,
    error_message text NOT NULL,
    is_retryable boolean NOT NULL,
    failed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    answered_at timestamp with time zone,
    CONSTRAINT failed_symbols_pkey PRIMARY KEY (failed_symbol_id)
);

CREATE TABLE market.instrument_aliases (
    source text COLLATE "C" NOT NULL,
    alias text COLLATE "C" NOT NULL,
    valid_from date NOT NULL,
    valid_to date,
    symbol text COLLATE "C" NOT NULL,
    revision integer DEFAULT 1 NOT NULL,
    load_id bigint NOT NULL,
    CONSTRAINT instrument_aliases_pkey PRIMARY KEY (source, alias, valid_from),
    CONSTRAINT instrument_aliases_end_after_they_begin CHECK ((valid_to > valid_from))
);

CREATE TABLE market.instruments (
    source text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    name text,
    board text,
    listed_on date,
    delisted_on date,
    revision integer DEFAULT 1 NOT NULL,
    load_id bigint NOT NULL,
    CONSTRAINT instruments_pkey PRIMARY KEY (source, symbol),
    CONSTRAINT instruments_end_after_they_begin CHECK ((delisted_on >= listed_on))
);

CREATE TABLE market.suspensions (
    source text COLLATE "C" NOT NULL,
    trade_date date NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    reason text,
    revision integer DEFAULT 1 NOT NULL,
    load_id bigint NOT NULL,
    CONSTRAINT suspensions_pkey PRIMARY KEY (source, trade_date, symbol)
);

CREATE TABLE ops.alert_clock (
    only_row boolean DEFAULT true NOT NULL,
    evaluated_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    evaluated_by text DEFAULT ''::text NOT NULL,
    CONSTRAINT alert_clock_pkey PRIMARY KEY (only_row),
    CONSTRAINT alert_clock_has_one_row CHECK (only_row)
);

CREATE TABLE ops.alert_messages (
    message_id bigint GENERATED ALWAYS AS IDENTITY,
    alert_id bigint NOT NULL,
    channel text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_error text,
    sent_at timestamp with time zone,
    given_up_at timestamp with time zone,
    CONSTRAINT alert_messages_pkey PRIMARY KEY (message_id),
    CONSTRAINT alert_messages_kind_is_known CHECK ((kind = ANY (ARRAY['fired'::text, 'raised'::text, 'resolved'::text])))
);

CREATE TABLE ops.alerts (
    alert_id bigint GENERATED ALWAYS AS IDENTITY,
    rule text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    metric text COLLATE "C" NOT NULL,
    severity text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    value double precision NOT NULL,
    allowed double precision NOT NULL,
    broken_since timestamp with time zone NOT NULL,
    critical_since timestamp with time zone,
    quiet_since timestamp with time zone,
    fired_at timestamp with time zone,
    resolved_at timestamp with time zone,
    resolution text COLLATE "C",
    CONSTRAINT alerts_pkey PRIMARY KEY (alert_id),
    CONSTRAINT alerts_resolution_is_known CHECK ((resolution = ANY (ARRAY['normal'::text, 'absent'::text, 'no_rule'::text]))),
    CONSTRAINT alerts_resolution_says_why CHECK (((resolved_at IS NULL) = (resolution IS NULL))),
    CONSTRAINT alerts_severity_is_known CHECK ((severity = ANY (ARRAY['warning'::text, 'critical'::text]))),
    CONSTRAINT alerts_state_has_its_times CHECK ((((fired_at IS NULL) = (state = 'pending'::text)) AND ((resolved_at IS NULL) = (state <> 'resolved'::text)))),
    CONSTRAINT alerts_state_is_known CHECK ((state = ANY (ARRAY['pending'::text, 'firing'::text, 'resolved'::text])))
);

CREATE TABLE ops.api_tokens (
    token_id bigint GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    scope text NOT NULL,
    secret_sha256 bytea NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT api_tokens_pkey PRIMARY KEY (token_id),
    CONSTRAINT api_tokens_hash_is_sha256 CHECK ((octet_length(secret_sha256) = 32)),
    CONSTRAINT api_tokens_scope_is_known CHECK ((scope = ANY (ARRAY['read'::text, 'launch'::text, 'admin'::text])))
);

CREATE TABLE ops.audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY,
    happened_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (audit_id)
);

CREATE TABLE ops.backfill_adoption (
    only_row boolean DEFAULT true NOT NULL,
    looked_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT backfill_adoption_pkey PRIMARY KEY (only_row),
    CONSTRAINT backfill_adoption_has_one_row CHECK (only_row)
);

CREATE TABLE ops.backfill_partitions (
    backfill_id bigint NOT NULL,
    "position" integer NOT NULL,
    partition_key text NOT NULL,
    why text,
    CONSTRAINT backfill_partitions_pkey PRIMARY KEY (backfill_id, partition_key)
);

CREATE TABLE ops.backfill_runs (
    run_id text NOT NULL,
    backfill_id bigint NOT NULL,
    began_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    held_at timestamp with time zone,
    CONSTRAINT backfill_runs_pkey PRIMARY KEY (run_id, backfill_id)
);

CREATE TABLE ops.backfill_segments (
    dagster_backfill_id text NOT NULL,
    backfill_id bigint NOT NULL,
    partitions integer NOT NULL,
    launched_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    held_at timestamp with time zone,
    ended_at timestamp with time zone,
    end_status text,
    is_adopted boolean DEFAULT false NOT NULL,
    is_shared boolean DEFAULT false NOT NULL,
    CONSTRAINT backfill_segments_pkey PRIMARY KEY (dagster_backfill_id, backfill_id)
);

CREATE TABLE ops.backfills (
    backfill_id bigint GENERATED ALWAYS AS IDENTITY,
    asset_key text NOT NULL,
    feed text NOT NULL,
    target text NOT NULL,
    scope text NOT NULL,
    first_key text NOT NULL,
    last_key text NOT NULL,
    partitions integer NOT NULL,
    fingerprint text NOT NULL,
    is_forced boolean DEFAULT false NOT NULL,
    symbols text[],
    priority integer DEFAULT '-10'::integer NOT NULL,
    wanted text DEFAULT 'run'::text NOT NULL,
    state text DEFAULT 'requested'::text NOT NULL,
    problem text DEFAULT ''::text NOT NULL,
    retry_of bigint,
    requested_by text NOT NULL,
    requested_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    adopted_from text,
    CONSTRAINT backfills_pkey PRIMARY KEY (backfill_id),
    CONSTRAINT backfills_end_is_final CHECK (((ended_at IS NOT NULL) = (state = ANY (ARRAY['success'::text, 'partial'::text, 'failed'::text, 'canceled'::text])))),
    CONSTRAINT backfills_state_is_known CHECK ((state = ANY (ARRAY['requested'::text, 'running'::text, 'paused'::text, 'success'::text, 'partial'::text, 'failed'::text, 'canceled'::text]))),
    CONSTRAINT backfills_wanted_is_known CHECK ((wanted = ANY (ARRAY['run'::text, 'pause'::text, 'cancel'::text])))
);

CREATE TABLE ops.batch_metrics (
    batch_id bigint GENERATED ALWAYS AS IDENTITY,
    target text NOT NULL,
    shard smallint NOT NULL,
    origin text NOT NULL,
    load_id bigint NOT NULL,
    row_count bigint NOT NULL,
    inserted bigint DEFAULT 0 NOT NULL,
    updated bigint DEFAULT 0 NOT NULL,
    unchanged bigint DEFAULT 0 NOT NULL,
    duplicate bigint DEFAULT 0 NOT NULL,
    rejected bigint DEFAULT 0 NOT NULL,
    is_committed boolean NOT NULL,
    seconds double precision NOT NULL,
    database_seconds double precision NOT NULL,
    alert_seconds double precision DEFAULT 0 NOT NULL,
    outbox_seconds double precision DEFAULT 0 NOT NULL,
    waited_seconds double precision,
    finished_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    success_ratio double precision GENERATED ALWAYS AS (
CASE
    WHEN (row_count = 0) THEN (1)::double precision
    WHEN is_committed THEN (((row_count - rejected))::double precision / (row_count)::double precision)
    ELSE (0)::double precision
END) STORED,
    rows_per_second double precision GENERATED ALWAYS AS (
CASE
    WHEN is_committed THEN ((row_count)::double precision / GREATEST(seconds, (0.000001)::double precision))
    ELSE (0)::double precision
END) STORED,
    CONSTRAINT batch_metrics_pkey PRIMARY KEY (batch_id),
    CONSTRAINT batch_metrics_origin_is_known CHECK ((origin = ANY (ARRAY['inbox'::text, 'file'::text])))
);

CREATE TABLE ops.browser_sessions (
    secret_sha256 bytea NOT NULL,
    token_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT browser_sessions_pkey PRIMARY KEY (secret_sha256),
    CONSTRAINT browser_sessions_hash_is_sha256 CHECK ((octet_length(secret_sha256) = 32))
);

CREATE TABLE ops.checkpoints (
    resource text NOT NULL,
    chunk_no integer NOT NULL,
    source_hash text NOT NULL,
    contract_version text NOT NULL,
    load_id bigint NOT NULL,
    staged_rows bigint NOT NULL,
    rows_read bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    rows_skipped bigint NOT NULL,
    "position" jsonb NOT NULL,
    broken_rules jsonb DEFAULT '{}'::jsonb NOT NULL,
    committed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT checkpoints_pkey PRIMARY KEY (resource, chunk_no)
);

CREATE TABLE ops.dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY,
    fingerprint text NOT NULL,
    load_id bigint NOT NULL,
    target text NOT NULL,
    scope text DEFAULT ''::text NOT NULL,
    window_key text NOT NULL,
    source_file text NOT NULL,
    row_number bigint NOT NULL,
    rule text NOT NULL,
    violations jsonb NOT NULL,
    original jsonb NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    seen_count integer DEFAULT 1 NOT NULL,
    first_seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    resolved_at timestamp with time zone,
    layout jsonb,
    read_load_id bigint,
    corrected jsonb,
    answered_by text,
    answered_at timestamp with time zone,
    answered_from text,
    answer_load_id bigint,
    resolution text,
    personal text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (dead_letter_id),
    CONSTRAINT dead_letters_state_is_known CHECK ((state = ANY (ARRAY['open'::text, 'superseded'::text, 'replayed'::text, 'discarded'::text])))
);

CREATE TABLE ops.eta_accuracy (
    backfill_id bigint NOT NULL,
    done_tenths smallint NOT NULL,
    estimated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    p50_at timestamp with time zone NOT NULL,
    p90_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT eta_accuracy_pkey PRIMARY KEY (backfill_id, done_tenths),
    CONSTRAINT eta_accuracy_tenths_are_of_ten CHECK (((done_tenths >= 0) AND (done_tenths <= 9)))
);

CREATE TABLE ops.leases (
    resource text NOT NULL,
    holder text NOT NULL,
    token bigint DEFAULT nextval('ops.lease_tokens'::regclass) NOT NULL,
    backend_pid integer NOT NULL,
    backend_start timestamp with time zone NOT NULL,
    acquired_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT leases_pkey PRIMARY KEY (resource),
    CONSTRAINT leases_token_is_unique UNIQUE (resource, token)
);

CREATE TABLE ops.loads (
    load_id bigint GENERATED ALWAYS AS IDENTITY,
    target text NOT NULL,
    scope text DEFAULT ''::text NOT NULL,
    window_key text NOT NULL,
    resource text NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    reason text,
    recognised_by text,
    publish_path text,
    rows_read bigint DEFAULT 0 NOT NULL,
    rows_inserted bigint DEFAULT 0 NOT NULL,
    rows_updated bigint DEFAULT 0 NOT NULL,
    rows_unchanged bigint DEFAULT 0 NOT NULL,
    rows_duplicate bigint DEFAULT 0 NOT NULL,
    rows_rejected bigint DEFAULT 0 NOT NULL,
    rows_skipped bigint DEFAULT 0 NOT NULL,
    rows_deleted bigint DEFAULT 0 NOT NULL,
    rows_before bigint,
    rows_after bigint,
    source_file text,
    source_hash text,
    content_hash text,
    contract_version text,
    lease_token bigint,
    run_id text,
    error_class text,
    error_message text,
    is_retryable boolean,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    metrics jsonb DEFAULT '{}'::jsonb NOT NULL,
    known_at timestamp with time zone,
    CONSTRAINT loads_pkey PRIMARY KEY (load_id),
    CONSTRAINT loads_ledger_balances CHECK (((state <> ALL (ARRAY['success'::text, 'partial'::text])) OR (rows_read = (((((rows_inserted + rows_updated) + rows_unchanged) + rows_duplicate) + rows_rejected) + rows_skipped)))),
    CONSTRAINT loads_publish_path_is_known CHECK ((publish_path = ANY (ARRAY['none'::text, 'direct'::text, 'merge'::text]))),
    CONSTRAINT loads_recognised_by_is_known CHECK ((recognised_by = ANY (ARRAY['source_hash'::text, 'content_hash'::text, 'difference'::text]))),
    CONSTRAINT loads_state_is_known CHECK ((state = ANY (ARRAY['running'::text, 'success'::text, 'failed'::text, 'skipped'::text, 'partial'::text, 'not_ready'::text, 'unconfirmed_empty'::text]))),
    CONSTRAINT loads_target_balances CHECK (((rows_after IS NULL) OR (rows_after = ((rows_before + rows_inserted) - rows_deleted))))
);

CREATE TABLE ops.paused_feeds (
    feed text NOT NULL,
    paused_by text NOT NULL,
    paused_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT paused_feeds_pkey PRIMARY KEY (feed)
);

CREATE TABLE ops.plan_windows (
    plan_id bigint NOT NULL,
    window_key text NOT NULL,
    why text NOT NULL,
    is_needed boolean NOT NULL,
    load_id bigint,
    state text,
    CONSTRAINT plan_windows_pkey PRIMARY KEY (plan_id, window_key)
);

CREATE TABLE ops.plans (
    plan_id bigint GENERATED ALWAYS AS IDENTITY,
    target text NOT NULL,
    scope text NOT NULL,
    feed text NOT NULL,
    run_id text,
    first_key text NOT NULL,
    last_key text NOT NULL,
    route text NOT NULL,
    symbols text[],
    is_forced boolean NOT NULL,
    windows_asked integer NOT NULL,
    windows_needed integer NOT NULL,
    planned_calls bigint NOT NULL,
    planned_rows bigint,
    planned_seconds double precision,
    planned_seconds_p90 double precision,
    tokens_left double precision,
    planned_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    made_calls bigint,
    read_rows bigint,
    seconds double precision,
    CONSTRAINT plans_pkey PRIMARY KEY (plan_id),
    CONSTRAINT plans_end_whole CHECK ((((finished_at IS NULL) = (made_calls IS NULL)) AND ((finished_at IS NULL) = (read_rows IS NULL)) AND ((finished_at IS NULL) = (seconds IS NULL)))),
    CONSTRAINT plans_route_is_known CHECK ((route = ANY (ARRAY['by_day'::text, 'by_symbol_range'::text, 'files'::text])))
);

CREATE TABLE ops.rate_limits (
    name text NOT NULL,
    capacity double precision NOT NULL,
    refill_per_second double precision NOT NULL,
    tokens double precision NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    blocked_until timestamp with time zone,
    breaker_state text DEFAULT 'closed'::text NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    failure_threshold integer NOT NULL,
    cool_down_seconds double precision NOT NULL,
    opened_at timestamp with time zone,
    probe_until timestamp with time zone,
    CONSTRAINT rate_limits_pkey PRIMARY KEY (name),
    CONSTRAINT rate_limits_breaker_opens CHECK (((failure_threshold >= 1) AND (cool_down_seconds > (0)::double precision))),
    CONSTRAINT rate_limits_breaker_state_is_known CHECK ((breaker_state = ANY (ARRAY['closed'::text, 'open'::text, 'half_open'::text]))),
    CONSTRAINT rate_limits_grant_something CHECK (((capacity >= (1)::double precision) AND (refill_per_second > (0)::double precision))),
    CONSTRAINT rate_limits_tokens_are_there CHECK (((tokens >= (0)::double precision) AND (tokens <= capacity)))
);

CREATE TABLE ops.row_hashes (
    target text NOT NULL,
    scope text DEFAULT ''::text NOT NULL,
    window_key text NOT NULL,
    content_hash text NOT NULL,
    contract_version text NOT NULL,
    algorithm smallint NOT NULL,
    system_identifier bigint NOT NULL,
    written_by bigint NOT NULL,
    row_versions text NOT NULL,
    hashes bytea NOT NULL,
    added bytea DEFAULT '\x'::bytea NOT NULL,
    dropped bytea DEFAULT '\x'::bytea NOT NULL,
    CONSTRAINT row_hashes_pkey PRIMARY KEY (target, scope, window_key)
);

CREATE TABLE ops.run_workers (
    run_id text NOT NULL,
    stage text NOT NULL,
    host text NOT NULL,
    machine_id text NOT NULL,
    boot_id text NOT NULL,
    pid_namespace text NOT NULL,
    pid integer NOT NULL,
    process_start text NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT run_workers_pkey PRIMARY KEY (run_id),
    CONSTRAINT run_workers_stage_is_known CHECK ((stage = ANY (ARRAY['created'::text, 'launching'::text, 'working'::text])))
);

CREATE TABLE ops.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    applied_seconds double precision NOT NULL,
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
);

CREATE TABLE ops.windows (
    target text NOT NULL,
    scope text DEFAULT ''::text NOT NULL,
    window_key text NOT NULL,
    starts_at timestamp with time zone,
    ends_at timestamp with time zone,
    version bigint DEFAULT 1 NOT NULL,
    published_version bigint DEFAULT 1 NOT NULL,
    row_count bigint NOT NULL,
    source_hash text,
    content_hash text,
    contract_version text NOT NULL,
    load_id bigint NOT NULL,
    published_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT windows_pkey PRIMARY KEY (target, scope, window_key)
);

CREATE TABLE market.daily_bars_1990 PARTITION OF market.daily_bars FOR VALUES FROM ('1990-01-01') TO ('1991-01-01');
CREATE TABLE market.daily_bars_1991 PARTITION OF market.daily_bars FOR VALUES FROM ('1991-01-01') TO ('1992-01-01');
CREATE TABLE market.daily_bars_1992 PARTITION OF market.daily_bars FOR VALUES FROM ('1992-01-01') TO ('1993-01-01');
CREATE TABLE market.daily_bars_1993 PARTITION OF market.daily_bars FOR VALUES FROM ('1993-01-01') TO ('1994-01-01');
CREATE TABLE market.daily_bars_1994 PARTITION OF market.daily_bars FOR VALUES FROM ('1994-01-01') TO ('1995-01-01');
CREATE TABLE market.daily_bars_1995 PARTITION OF market.daily_bars FOR VALUES FROM ('1995-01-01') TO ('1996-01-01');
CREATE TABLE market.daily_bars_1996 PARTITION OF market.daily_bars FOR VALUES FROM ('1996-01-01') TO ('1997-01-01');
CREATE TABLE market.daily_bars_1997 PARTITION OF market.daily_bars FOR VALUES FROM ('1997-01-01') TO ('1998-01-01');
CREATE TABLE market.daily_bars_1998 PARTITION OF market.daily_bars FOR VALUES FROM ('1998-01-01') TO ('1999-01-01');
CREATE TABLE market.daily_bars_1999 PARTITION OF market.daily_bars FOR VALUES FROM ('1999-01-01') TO ('2000-01-01');
CREATE TABLE market.daily_bars_2000 PARTITION OF market.daily_bars FOR VALUES FROM ('2000-01-01') TO ('2001-01-01');
CREATE TABLE market.daily_bars_2001 PARTITION OF market.daily_bars FOR VALUES FROM ('2001-01-01') TO ('2002-01-01');
CREATE TABLE market.daily_bars_2002 PARTITION OF market.daily_bars FOR VALUES FROM ('2002-01-01') TO ('2003-01-01');
CREATE TABLE market.daily_bars_2003 PARTITION OF market.daily_bars FOR VALUES FROM ('2003-01-01') TO ('2004-01-01');
CREATE TABLE market.daily_bars_2004 PARTITION OF market.daily_bars FOR VALUES FROM ('2004-01-01') TO ('2005-01-01');
CREATE TABLE market.daily_bars_2005 PARTITION OF market.daily_bars FOR VALUES FROM ('2005-01-01') TO ('2006-01-01');
CREATE TABLE market.daily_bars_2006 PARTITION OF market.daily_bars FOR VALUES FROM ('2006-01-01') TO ('2007-01-01');
CREATE TABLE market.daily_bars_2007 PARTITION OF market.daily_bars FOR VALUES FROM ('2007-01-01') TO ('2008-01-01');
CREATE TABLE market.daily_bars_2008 PARTITION OF market.daily_bars FOR VALUES FROM ('2008-01-01') TO ('2009-01-01');
CREATE TABLE market.daily_bars_2009 PARTITION OF market.daily_bars FOR VALUES FROM ('2009-01-01') TO ('2010-01-01');
CREATE TABLE market.daily_bars_2010 PARTITION OF market.daily_bars FOR VALUES FROM ('2010-01-01') TO ('2011-01-01');
CREATE TABLE market.daily_bars_2011 PARTITION OF market.daily_bars FOR VALUES FROM ('2011-01-01') TO ('2012-01-01');
CREATE TABLE market.daily_bars_2012 PARTITION OF market.daily_bars FOR VALUES FROM ('2012-01-01') TO ('2013-01-01');
CREATE TABLE market.daily_bars_2013 PARTITION OF market.daily_bars FOR VALUES FROM ('2013-01-01') TO ('2014-01-01');
CREATE TABLE market.daily_bars_2014 PARTITION OF market.daily_bars FOR VALUES FROM ('2014-01-01') TO ('2015-01-01');
CREATE TABLE market.daily_bars_2015 PARTITION OF market.daily_bars FOR VALUES FROM ('2015-01-01') TO ('2016-01-01');
CREATE TABLE market.daily_bars_2016 PARTITION OF market.daily_bars FOR VALUES FROM ('2016-01-01') TO ('2017-01-01');
CREATE TABLE market.daily_bars_2017 PARTITION OF market.daily_bars FOR VALUES FROM ('2017-01-01') TO ('2018-01-01');
CREATE TABLE market.daily_bars_2018 PARTITION OF market.daily_bars FOR VALUES FROM ('2018-01-01') TO ('2019-01-01');
CREATE TABLE market.daily_bars_2019 PARTITION OF market.daily_bars FOR VALUES FROM ('2019-01-01') TO ('2020-01-01');
CREATE TABLE market.daily_bars_2020 PARTITION OF market.daily_bars FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE market.daily_bars_2021 PARTITION OF market.daily_bars FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE market.daily_bars_2022 PARTITION OF market.daily_bars FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE market.daily_bars_2023 PARTITION OF market.daily_bars FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE market.daily_bars_2024 PARTITION OF market.daily_bars FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE market.daily_bars_2025 PARTITION OF market.daily_bars FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE market.daily_bars_2026 PARTITION OF market.daily_bars FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE market.daily_bars_2027 PARTITION OF market.daily_bars FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
CREATE TABLE market.daily_bars_2028 PARTITION OF market.daily_bars FOR VALUES FROM ('2028-01-01') TO ('2029-01-01');
CREATE TABLE market.daily_bars_2029 PARTITION OF market.daily_bars FOR VALUES FROM ('2029-01-01') TO ('2030-01-01');
CREATE TABLE market.daily_bars_2030 PARTITION OF market.daily_bars FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
CREATE TABLE market.daily_bars_2031 PARTITION OF market.daily_bars FOR VALUES FROM ('2031-01-01') TO ('2032-01-01');
CREATE TABLE market.daily_bars_2032 PARTITION OF market.daily_bars FOR VALUES FROM ('2032-01-01') TO ('2033-01-01');
CREATE TABLE market.daily_bars_2033 PARTITION OF market.daily_bars FOR VALUES FROM ('2033-01-01') TO ('2034-01-01');
CREATE TABLE market.daily_bars_2034 PARTITION OF market.daily_bars FOR VALUES FROM ('2034-01-01') TO ('2035-01-01');
CREATE TABLE market.daily_bars_2035 PARTITION OF market.daily_bars FOR VALUES FROM ('2035-01-01') TO ('2036-01-01');
CREATE TABLE market.daily_bars_2036 PARTITION OF market.daily_bars FOR VALUES FROM ('2036-01-01') TO ('2037-01-01');
CREATE TABLE market.daily_bars_2037 PARTITION OF market.daily_bars FOR VALUES FROM ('2037-01-01') TO ('2038-01-01');
CREATE TABLE market.daily_bars_2038 PARTITION OF market.daily_bars FOR VALUES FROM ('2038-01-01') TO ('2039-01-01');
CREATE TABLE market.daily_bars_2039 PARTITION OF market.daily_bars FOR VALUES FROM ('2039-01-01') TO ('2040-01-01');
CREATE TABLE market.daily_bars_before_1990 PARTITION OF market.daily_bars FOR VALUES FROM (MINVALUE) TO ('1990-01-01');
CREATE TABLE market.daily_bars_later PARTITION OF market.daily_bars FOR VALUES FROM ('2040-01-01') TO (MAXVALUE);

ALTER TABLE devices.file_progress ADD CONSTRAINT file_progress_file_fkey FOREIGN KEY (file_id) REFERENCES devices.files(file_id) ON DELETE CASCADE;
ALTER TABLE documents.chunks ADD CONSTRAINT chunks_document_fkey FOREIGN KEY (document_id) REFERENCES documents.documents(document_id) ON DELETE CASCADE;
ALTER TABLE documents.texts ADD CONSTRAINT texts_document_fkey FOREIGN KEY (document_id) REFERENCES documents.documents(document_id) ON DELETE CASCADE;
ALTER TABLE documents.upload_files ADD CONSTRAINT upload_files_batch_fkey FOREIGN KEY (batch_id) REFERENCES documents.uploads(batch_id) ON DELETE CASCADE;
ALTER TABLE ops.alert_messages ADD CONSTRAINT alert_messages_alert_fkey FOREIGN KEY (alert_id) REFERENCES ops.alerts(alert_id) ON DELETE CASCADE;
ALTER TABLE ops.browser_sessions ADD CONSTRAINT browser_sessions_token_fkey FOREIGN KEY (token_id) REFERENCES ops.api_tokens(token_id) ON DELETE CASCADE;
ALTER SEQUENCE ops.lease_tokens OWNED BY ops.leases.token;

CREATE UNIQUE INDEX alerts_are_open_once ON devices.alerts USING btree (device_sn, metric, rule) WHERE (resolved_at IS NULL);
CREATE INDEX alerts_by_time ON devices.alerts USING btree (opened_at);
CREATE INDEX files_waiting ON devices.files USING btree (file_id) WHERE (state = 'waiting'::text);
CREATE INDEX inbox_by_bucket ON devices.inbox USING btree (bucket, inbox_id);
CREATE INDEX outbox_dead ON devices.outbox USING btree (outbox_id) WHERE (dead_at IS NOT NULL);
CREATE INDEX outbox_held_back ON devices.outbox USING btree (device_sn, destination) WHERE ((dead_at IS NULL) AND (next_attempt_at IS NOT NULL));
CREATE INDEX outbox_waiting ON devices.outbox USING btree (destination, outbox_id) WHERE (dead_at IS NULL);
CREATE INDEX shadow_differences_by_bucket ON devices.shadow_differences USING btree (bucket, difference_id);
CREATE UNIQUE INDEX shard_map_version_is_one ON devices.shard_map_version USING btree ((true));
CREATE INDEX chunks_by_words ON documents.chunks USING gin (search_vector);
CREATE INDEX documents_by_content ON documents.documents USING btree (sha256);
CREATE INDEX documents_by_day ON documents.documents USING btree (source, arrival_day);
CREATE UNIQUE INDEX documents_current_is_unique ON documents.documents USING btree (source, path) WHERE is_current;
CREATE INDEX files_by_day ON documents.files USING btree (source, arrival_day, path);
CREATE INDEX files_by_document ON documents.files USING btree (document_id) WHERE (document_id IS NOT NULL);
CREATE INDEX files_claimed ON documents.files USING btree (claimed_by, path) WHERE (claimed_by IS NOT NULL);
CREATE INDEX files_unfinished ON documents.files USING btree (source, arrival_day) WHERE (state = ANY (ARRAY['growing'::text, 'waiting'::text]));
CREATE INDEX upload_files_by_path ON documents.upload_files USING btree (source, path) WHERE (path IS NOT NULL);
CREATE INDEX failed_symbols_owed ON market.failed_symbols USING btree (source, symbol) WHERE (NOT isempty(owed_days));
CREATE INDEX alert_messages_by_alert ON ops.alert_messages USING btree (alert_id);
CREATE INDEX alert_messages_waiting ON ops.alert_messages USING btree (channel, alert_id, message_id) WHERE ((sent_at IS NULL) AND (given_up_at IS NULL));
CREATE UNIQUE INDEX alerts_are_open_once ON ops.alerts USING btree (rule, subject) WHERE (resolved_at IS NULL);
CREATE INDEX alerts_by_end ON ops.alerts USING btree (resolved_at);
CREATE UNIQUE INDEX api_tokens_name_in_use ON ops.api_tokens USING btree (name) WHERE (revoked_at IS NULL);
CREATE INDEX audit_by_time ON ops.audit USING btree (happened_at);
CREATE INDEX backfill_runs_by_backfill ON ops.backfill_runs USING btree (backfill_id);
CREATE INDEX backfill_segments_by_backfill ON ops.backfill_segments USING btree (backfill_id, launched_at);
CREATE UNIQUE INDEX backfills_adopt_once ON ops.backfills USING btree (adopted_from, asset_key) WHERE (adopted_from IS NOT NULL);
CREATE UNIQUE INDEX backfills_run_once ON ops.backfills USING btree (fingerprint) WHERE (ended_at IS NULL);
CREATE INDEX backfills_unfinished ON ops.backfills USING btree (backfill_id) WHERE (ended_at IS NULL);
CREATE INDEX batch_metrics_by_end ON ops.batch_metrics USING brin (finished_at);
CREATE INDEX browser_sessions_by_end ON ops.browser_sessions USING btree (expires_at);
CREATE INDEX dead_letters_by_load ON ops.dead_letters USING btree (load_id);
CREATE UNIQUE INDEX dead_letters_open_once ON ops.dead_letters USING btree (target, scope, window_key, fingerprint) WHERE (state = 'open'::text);
CREATE INDEX loads_by_end ON ops.loads USING brin (finished_at);
CREATE INDEX loads_by_resource ON ops.loads USING btree (resource, load_id DESC);
CREATE INDEX loads_by_run ON ops.loads USING btree (run_id, window_key);
CREATE INDEX loads_failed ON ops.loads USING btree (load_id) WHERE (state = 'failed'::text);
CREATE INDEX loads_running ON ops.loads USING btree (resource) WHERE (state = 'running'::text);
CREATE INDEX loads_with_chunks ON ops.loads USING btree (target, scope, load_id DESC) WHERE (metrics ? 'last_chunk_rows'::text);
CREATE INDEX plan_windows_by_load ON ops.plan_windows USING btree (load_id);
CREATE INDEX plans_by_run ON ops.plans USING btree (run_id);
CREATE INDEX plans_by_scope ON ops.plans USING btree (target, scope, plan_id DESC);

CREATE OR REPLACE FUNCTION market.daily_bars_as_of(at timestamp with time zone)
 RETURNS SETOF market.daily_bars
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT
        source,
        symbol,
        trade_date,
        open,
        high,
        low,
        close,
        pre_close,
        volume,
        amount,
        adjustment,
        status,
        revision,
        load_id
    FROM market.daily_bars_versions
    WHERE known_from <= at AND at < known_to
$function$;

CREATE VIEW devices.daily AS
 SELECT device_sn,
    day,
    COALESCE(r.record_count, (0)::bigint) AS record_count,
    COALESCE(s.heart_rate_bpm, round((r.heart_rate_sum / (NULLIF(r.heart_rate_count, 0))::numeric), 2)) AS heart_rate_bpm,
    r.heart_rate_min,
    r.heart_rate_max,
    COALESCE(s.spo2_pct, round((r.spo2_sum / (NULLIF(r.spo2_count, 0))::numeric), 2)) AS spo2_pct,
    r.spo2_min,
    COALESCE(s.temperature_celsius, round((r.temperature_sum / (NULLIF(r.temperature_count, 0))::numeric), 2)) AS temperature_celsius,
    r.temperature_max,
    COALESCE(s.systolic_mmhg, round((r.systolic_sum / (NULLIF(r.systolic_count, 0))::numeric), 2)) AS systolic_mmhg,
    r.systolic_max,
    COALESCE(s.diastolic_mmhg, round((r.diastolic_sum / (NULLIF(r.diastolic_count, 0))::numeric), 2)) AS diastolic_mmhg,
    r.diastolic_max,
    COALESCE(s.steps, r.steps) AS steps,
    COALESCE(s.sleep_minutes, r.sleep_minutes) AS sleep_minutes,
    s.extra,
    (s.device_sn IS NOT NULL) AS is_supplied,
    array_remove(ARRAY[
        CASE
            WHEN (s.heart_rate_bpm <> round((r.heart_rate_sum / (NULLIF(r.heart_rate_count, 0))::numeric), 2)) THEN 'heart_rate_bpm'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.spo2_pct <> round((r.spo2_sum / (NULLIF(r.spo2_count, 0))::numeric), 2)) THEN 'spo2_pct'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.temperature_celsius <> round((r.temperature_sum / (NULLIF(r.temperature_count, 0))::numeric), 2)) THEN 'temperature_celsius'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.systolic_mmhg <> round((r.systolic_sum / (NULLIF(r.systolic_count, 0))::numeric), 2)) THEN 'systolic_mmhg'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.diastolic_mmhg <> round((r.diastolic_sum / (NULLIF(r.diastolic_count, 0))::numeric), 2)) THEN 'diastolic_mmhg'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.steps <> r.steps) THEN 'steps'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.sleep_minutes <> r.sleep_minutes) THEN 'sleep_minutes'::text
            ELSE NULL::text
        END], NULL::text) AS differing
   FROM (devices.daily_rollups r
     FULL JOIN devices.daily_supplied s USING (device_sn, day));
CREATE VIEW devices.weekly AS
 SELECT device_sn,
    week,
    COALESCE(r.record_count, (0)::bigint) AS record_count,
    COALESCE(r.day_count, (0)::bigint) AS day_count,
    COALESCE(s.heart_rate_bpm, r.heart_rate_bpm) AS heart_rate_bpm,
    COALESCE(s.spo2_pct, r.spo2_pct) AS spo2_pct,
    COALESCE(s.temperature_celsius, r.temperature_celsius) AS temperature_celsius,
    COALESCE(s.systolic_mmhg, r.systolic_mmhg) AS systolic_mmhg,
    COALESCE(s.diastolic_mmhg, r.diastolic_mmhg) AS diastolic_mmhg,
    COALESCE((s.steps)::bigint, r.steps) AS steps,
    COALESCE((s.sleep_minutes)::bigint, r.sleep_minutes) AS sleep_minutes,
    s.extra,
    (s.device_sn IS NOT NULL) AS is_supplied,
    array_remove(ARRAY[
        CASE
            WHEN (s.heart_rate_bpm <> r.heart_rate_bpm) THEN 'heart_rate_bpm'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.spo2_pct <> r.spo2_pct) THEN 'spo2_pct'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.temperature_celsius <> r.temperature_celsius) THEN 'temperature_celsius'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.systolic_mmhg <> r.systolic_mmhg) THEN 'systolic_mmhg'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.diastolic_mmhg <> r.diastolic_mmhg) THEN 'diastolic_mmhg'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.steps <> r.steps) THEN 'steps'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (s.sleep_minutes <> r.sleep_minutes) THEN 'sleep_minutes'::text
            ELSE NULL::text
        END], NULL::text) AS differing
   FROM (( SELECT daily.device_sn,
            (daily.day - ((EXTRACT(isodow FROM daily.day))::integer - 1)) AS week,
            (sum(daily.record_count))::bigint AS record_count,
            count(*) AS day_count,
            round(avg(daily.heart_rate_bpm), 2) AS heart_rate_bpm,
            round(avg(daily.spo2_pct), 2) AS spo2_pct,
            round(avg(daily.temperature_celsius), 2) AS temperature_celsius,
            round(avg(daily.systolic_mmhg), 2) AS systolic_mmhg,
            round(avg(daily.diastolic_mmhg), 2) AS diastolic_mmhg,
            sum(daily.steps) AS steps,
            sum(daily.sleep_minutes) AS sleep_minutes
           FROM devices.daily
          GROUP BY daily.device_sn, (daily.day - ((EXTRACT(isodow FROM daily.day))::integer - 1))) r
     FULL JOIN devices.weekly_supplied s USING (device_sn, week));
CREATE VIEW documents.upload_states AS
 SELECT u.batch_id,
    u.number,
    u.source,
    u.name,
    u.path,
    u.sha256,
        CASE
            WHEN (u.refused_outcome IS NOT NULL) THEN u.refused_outcome
            WHEN (is_here.yes AND (f.state = ANY (ARRAY['done'::text, 'failed'::text]))) THEN f.outcome
            WHEN (d.outcome IS NOT NULL) THEN d.outcome
            WHEN (is_here.yes AND (f.state = 'deleted'::text)) THEN COALESCE(f.outcome, 'vanished'::text)
            WHEN is_replaced.yes THEN 'replaced'::text
            ELSE NULL::text
        END AS outcome,
        CASE
            WHEN (u.refused_outcome IS NOT NULL) THEN u.refused_reason
            WHEN (is_here.yes AND (f.state = ANY (ARRAY['done'::text, 'failed'::text]))) THEN f.reason
            WHEN (d.outcome IS NOT NULL) THEN d.reason
            WHEN (is_here.yes AND (f.state = 'deleted'::text)) THEN 'it was deleted before it was read; expected it to stay; upload it again if it is wanted'::text
            WHEN is_replaced.yes THEN 'another file of that name took its place before it was read; expected one file of a name at a time; upload it again under another name if it is wanted'::text
            ELSE NULL::text
        END AS reason,
        CASE
            WHEN (u.refused_outcome IS NOT NULL) THEN b.received_at
            WHEN (is_here.yes AND (f.state = ANY (ARRAY['done'::text, 'failed'::text]))) THEN f.finished_at
            ELSE COALESCE(d.ingested_at, f.looked_at)
        END AS finished_at,
    (f.path IS NOT NULL) AS is_seen
   FROM (((((documents.upload_files u
     JOIN documents.uploads b USING (batch_id))
     LEFT JOIN documents.files f ON (((f.source = u.source) AND (f.path = u.path))))
     LEFT JOIN LATERAL ( SELECT v.outcome,
            v.reason,
            v.ingested_at
           FROM documents.documents v
          WHERE ((v.source = u.source) AND (v.path = u.path) AND (v.sha256 = u.sha256) AND (v.is_current OR (v.ingested_at >= b.received_at)))
          ORDER BY v.version DESC
         LIMIT 1) d ON (true))
     CROSS JOIN LATERAL ( SELECT COALESCE((((f.size_bytes = u.size_bytes) AND (f.modified_ns = u.modified_ns)) OR (f.sha256 = u.sha256)), false) AS yes) is_here)
     CROSS JOIN LATERAL ( SELECT ((NOT is_here.yes) AND ((f.looked_at > b.received_at) OR (EXISTS ( SELECT
                   FROM (documents.upload_files o
                     JOIN documents.uploads ob ON ((ob.batch_id = o.batch_id)))
                  WHERE ((o.source = u.source) AND (o.path = u.path) AND (o.sha256 <> u.sha256) AND (ob.received_at > b.received_at)))))) AS yes) is_replaced);
CREATE VIEW market.daily_bars_hfq AS
 SELECT b.source,
    b.symbol,
    b.trade_date,
    round((b.open * COALESCE(f.factor, (1)::numeric)), 6) AS open,
    round((b.high * COALESCE(f.factor, (1)::numeric)), 6) AS high,
    round((b.low * COALESCE(f.factor, (1)::numeric)), 6) AS low,
    round((b.close * COALESCE(f.factor, (1)::numeric)), 6) AS close,
    round((b.pre_close * COALESCE(f.factor, (1)::numeric)), 6) AS pre_close,
    b.volume,
    b.amount,
    'hfq'::text AS adjustment,
    b.status,
    COALESCE(f.factor, (1)::numeric) AS factor
   FROM (market.daily_bars b
     LEFT JOIN LATERAL ( SELECT a.factor
           FROM market.adjustment_factors a
          WHERE ((a.source = b.source) AND (a.symbol = b.symbol) AND (a.ex_date <= b.trade_date))
          ORDER BY a.ex_date DESC
         LIMIT 1) f ON (true))
  WHERE (b.adjustment = 'raw'::text);
CREATE VIEW market.daily_bars_qfq AS
 SELECT b.source,
    b.symbol,
    b.trade_date,
    round(((b.open * COALESCE(f.factor, (1)::numeric)) / COALESCE(n.factor, (1)::numeric)), 6) AS open,
    round(((b.high * COALESCE(f.factor, (1)::numeric)) / COALESCE(n.factor, (1)::numeric)), 6) AS high,
    round(((b.low * COALESCE(f.factor, (1)::numeric)) / COALESCE(n.factor, (1)::numeric)), 6) AS low,
    round(((b.close * COALESCE(f.factor, (1)::numeric)) / COALESCE(n.factor, (1)::numeric)), 6) AS close,
    round(((b.pre_close * COALESCE(f.factor, (1)::numeric)) / COALESCE(n.factor, (1)::numeric)), 6) AS pre_close,
    b.volume,
    b.amount,
    'qfq'::text AS adjustment,
    b.status,
    (COALESCE(f.factor, (1)::numeric) / COALESCE(n.factor, (1)::numeric)) AS factor
   FROM (((market.daily_bars b
     CROSS JOIN LATERAL ( SELECT max(d.trade_date) AS trade_date
           FROM market.daily_bars d
          WHERE (d.source = b.source)) newest)
     LEFT JOIN LATERAL ( SELECT a.factor
           FROM market.adjustment_factors a
          WHERE ((a.source = b.source) AND (a.symbol = b.symbol) AND (a.ex_date <= b.trade_date))
          ORDER BY a.ex_date DESC
         LIMIT 1) f ON (true))
     LEFT JOIN LATERAL ( SELECT a.factor
           FROM market.adjustment_factors a
          WHERE ((a.source = b.source) AND (a.symbol = b.symbol) AND (a.ex_date <= newest.trade_date))
          ORDER BY a.ex_date DESC
         LIMIT 1) n ON (true))
  WHERE (b.adjustment = 'raw'::text);
CREATE VIEW market.daily_bars_versions AS
 SELECT b.source,
    b.symbol,
    b.trade_date,
    b.open,
    b.high,
    b.low,
    b.close,
    b.pre_close,
    b.volume,
    b.amount,
    b.adjustment,
    b.status,
    b.revision,
    b.load_id,
    COALESCE(l.known_at, '-infinity'::timestamp with time zone) AS known_from,
    'infinity'::timestamp with time zone AS known_to,
    NULL::bigint AS superseded_by
   FROM (market.daily_bars b
     LEFT JOIN ops.loads l ON ((l.load_id = b.load_id)))
UNION ALL
 SELECT daily_bars_history.source,
    daily_bars_history.symbol,
    daily_bars_history.trade_date,
    daily_bars_history.open,
    daily_bars_history.high,
    daily_bars_history.low,
    daily_bars_history.close,
    daily_bars_history.pre_close,
    daily_bars_history.volume,
    daily_bars_history.amount,
    daily_bars_history.adjustment,
    daily_bars_history.status,
    daily_bars_history.revision,
    daily_bars_history.load_id,
    daily_bars_history.known_from,
    daily_bars_history.known_to,
    daily_bars_history.superseded_by
   FROM market.daily_bars_history;
CREATE VIEW ops.backfill_outcomes AS
 SELECT p.backfill_id,
    p."position",
    p.partition_key,
    p.why,
    l.load_id,
    l.run_id,
    COALESCE(l.state, 'waiting'::text) AS state,
    COALESCE(l.reason, ''::text) AS reason,
    COALESCE(l.error_class, ''::text) AS error_class,
    COALESCE(l.error_message, ''::text) AS error_message,
    l.started_at,
    l.finished_at,
    COALESCE(l.rows_read, (0)::bigint) AS rows_read,
    COALESCE(l.rows_inserted, (0)::bigint) AS rows_inserted,
    COALESCE(l.rows_updated, (0)::bigint) AS rows_updated,
    COALESCE(l.rows_unchanged, (0)::bigint) AS rows_unchanged,
    COALESCE(l.rows_duplicate, (0)::bigint) AS rows_duplicate,
    COALESCE(l.rows_rejected, (0)::bigint) AS rows_rejected,
    COALESCE(l.rows_skipped, (0)::bigint) AS rows_skipped
   FROM (ops.backfill_partitions p
     LEFT JOIN ( SELECT DISTINCT ON (r.backfill_id, o.window_key) r.backfill_id,
            o.load_id,
            o.target,
            o.scope,
            o.window_key,
            o.resource,
            o.state,
            o.reason,
            o.recognised_by,
            o.publish_path,
            o.rows_read,
            o.rows_inserted,
            o.rows_updated,
            o.rows_unchanged,
            o.rows_duplicate,
            o.rows_rejected,
            o.rows_skipped,
            o.rows_deleted,
            o.rows_before,
            o.rows_after,
            o.source_file,
            o.source_hash,
            o.content_hash,
            o.contract_version,
            o.lease_token,
            o.run_id,
            o.error_class,
            o.error_message,
            o.is_retryable,
            o.started_at,
            o.finished_at,
            o.metrics,
            o.known_at
           FROM ((ops.backfill_runs r
             JOIN ops.backfills b ON ((b.backfill_id = r.backfill_id)))
             JOIN ops.loads o ON (((o.run_id = r.run_id) AND (o.target = b.target) AND (o.scope = b.scope))))
          ORDER BY r.backfill_id, o.window_key, ((o.state = 'skipped'::text) AND (NOT (o.reason IS DISTINCT FROM 'already_present'::text))), o.load_id DESC) l ON (((l.backfill_id = p.backfill_id) AND (l.window_key = p.partition_key))));
CREATE VIEW ops.batch_metrics_hourly AS
 SELECT b.target,
    b.shard,
    h.hour,
    count(*) AS batches,
    count(*) FILTER (WHERE (NOT b.is_committed)) AS rolled_back,
    (COALESCE(sum(b.row_count) FILTER (WHERE b.is_committed), (0)::numeric))::bigint AS row_count,
    (COALESCE(sum(b.duplicate) FILTER (WHERE b.is_committed), (0)::numeric))::bigint AS duplicate,
    (COALESCE(sum(b.rejected) FILTER (WHERE b.is_committed), (0)::numeric))::bigint AS rejected,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY b.seconds) AS seconds_p50_p95_p99,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY b.database_seconds) AS database_seconds_p50_p95_p99,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY b.waited_seconds) AS waited_seconds_p50_p95_p99,
    percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY b.rows_per_second) FILTER (WHERE b.is_committed) AS rows_per_second_p50_p95_p99
   FROM (ops.batch_metrics b
     CROSS JOIN LATERAL ( SELECT date_trunc('hour'::text, b.finished_at) AS hour) h)
  GROUP BY b.target, b.shard, h.hour;
CREATE VIEW ops.masked_dead_letters AS
 SELECT l.dead_letter_id,
    l.load_id,
    l.target,
    l.scope,
    l.window_key,
    l.source_file,
    l.row_number,
    l.rule,
    l.violations,
    m.original,
    l.state,
    l.seen_count,
    l.first_seen_at,
    l.last_seen_at,
    l.resolved_at,
    l.answered_by,
    l.answered_at,
    l.answered_from,
    l.resolution
   FROM (ops.dead_letters l
     CROSS JOIN LATERAL ( SELECT jsonb_object_agg(o.key,
                CASE
                    WHEN ((o.key = ANY (l.personal)) AND (o.value <> 'null'::jsonb)) THEN '"***"'::jsonb
                    ELSE o.value
                END) AS original
           FROM jsonb_each(l.original) o(key, value)) m);

COMMENT ON SCHEMA devices IS 'Health records of many devices, rolled up by day and week, written by shard.';
COMMENT ON SCHEMA documents IS 'Files of the landing folders, their versions, their text and how to search it.';
COMMENT ON SCHEMA market IS 'Market data: daily bars, one row per source, symbol and trade date.';
COMMENT ON SCHEMA ops IS 'Loads, windows, leases, checkpoints and dead letters of batch_assets.';
COMMENT ON SCHEMA staging IS 'Persistent staging tables of loads in progress; safe to drop when no lease is held.';

COMMENT ON TABLE devices.alert_runs IS 'How many records in a row broke a rule, up to the newest one; and up to the one before, in case the newest is corrected.';
COMMENT ON TABLE devices.alerts IS 'One row from the record that broke a rule long enough to the record that no longer did.';
COMMENT ON COLUMN devices.alerts.value IS 'What was measured when the alert opened.';
COMMENT ON COLUMN devices.alerts.broken_since IS 'Moment of the first record of the run that broke the rule; like opened_at and resolved_at, by the device.';
COMMENT ON COLUMN devices.alerts.resolution IS 'normal: a later record kept the rule; not_watched: the rule is no longer for this device, at the time of the server.';
COMMENT ON VIEW devices.daily IS 'One row per device and day (UTC): supplied values, and rolled up ones where none is supplied.';
COMMENT ON COLUMN devices.daily.differing IS 'Columns whose supplied value is not what the records add up to; compare devices.daily_rollups.';
COMMENT ON TABLE devices.daily_rollups IS 'What the records of one device and day (UTC) add up to; committed with the records.';
COMMENT ON TABLE devices.daily_supplied IS 'What a device itself says of a day; what is sent again replaces it.';
COMMENT ON TABLE devices.file_progress IS 'How far the buckets of a shard are, in a file that is not done; committed with the rows.';
COMMENT ON COLUMN devices.file_progress.last_row IS 'Rows of these buckets up to this one are committed; the most over all versions counts.';
COMMENT ON TABLE devices.files IS 'One row per content seen at a path of the landing folder.';
COMMENT ON COLUMN devices.files.modified_ns IS 'Time of change when the content was hashed.';
COMMENT ON COLUMN devices.files.arrival_day IS 'Partition of the file (UTC).';
COMMENT ON TABLE devices.inbox IS 'Records that were accepted and not yet written; a row goes in the transaction that writes it.';
COMMENT ON COLUMN devices.inbox.body IS 'One JSON object as the client sent it; judged when it is written.';
COMMENT ON TABLE devices.latest IS 'State of each device: its newest record, as it was last corrected.';
COMMENT ON TABLE devices.outbox IS 'Messages that are to be sent, in order per device and destination, at least once; outbox_id tells copies.';
COMMENT ON COLUMN devices.outbox.next_attempt_at IS 'The device waits until then, since the destination refused this message.';
COMMENT ON COLUMN devices.outbox.dead_at IS 'Refused too often: a dead letter, no longer in the way of the messages after it.';
COMMENT ON TABLE devices.records IS 'One row per device and moment; a record sent again with other values corrects it.';
COMMENT ON COLUMN devices.records.steps IS 'Counted by the device since its midnight.';
COMMENT ON COLUMN devices.records.sleep_minutes IS 'Counted by the device since the night began.';
COMMENT ON COLUMN devices.records.extra IS 'Fields that the contract has no column for, as the device sent them.';
COMMENT ON TABLE devices.shadow_buckets IS 'Functions by bucket, read by every part that is written; a bucket without a row stores records as they are.';
COMMENT ON COLUMN devices.shadow_buckets.live_function IS 'package.module:function whose result is stored; null for records as they are.';
COMMENT ON COLUMN devices.shadow_buckets.shadow_function IS 'The one whose result is compared with what is stored, and not stored.';
COMMENT ON COLUMN devices.shadow_buckets.previous_function IS 'What was live before the last switch, for rollback; null for records as they are.';
COMMENT ON TABLE devices.shadow_differences IS 'Where a function in shadow gave something else than what was stored, since it was started.';
COMMENT ON COLUMN devices.shadow_differences.stored IS 'Columns that differ, as they are stored; all of them for a row that is missing.';
COMMENT ON COLUMN devices.shadow_differences.row_count IS 'Rows of the bucket in a batch on which the function failed; 1 for the others.';
COMMENT ON TABLE devices.shard_map IS 'The shard of each of the 256 virtual buckets.';
COMMENT ON TABLE devices.shard_map_version IS 'Raised with every change of the map: what was split by an older one is not published.';
COMMENT ON VIEW devices.weekly IS 'One row per device and week (from Monday): supplied values, else averages and sums of the days.';
COMMENT ON COLUMN devices.weekly.differing IS 'Columns whose supplied value is not what the days add up to.';
COMMENT ON TABLE devices.weekly_supplied IS 'What a device itself says of a week, from its Monday; what is sent again replaces it.';
COMMENT ON TABLE documents.chunks IS 'Pieces of the text of current documents, with the pages they are from.';
COMMENT ON COLUMN documents.chunks.segment_from IS 'First page, slide, sheet or section the piece touches, from 1.';
COMMENT ON COLUMN documents.chunks.start_offset IS 'Characters before it in documents.texts.text: substr(text, start_offset + 1, end_offset - start_offset) is the piece.';
COMMENT ON TABLE documents.documents IS 'One row per version of a file, with where it came from and how reading it ended.';
COMMENT ON COLUMN documents.documents.is_current IS 'The newest version at this path; older ones keep their row and lose their text.';
COMMENT ON COLUMN documents.documents.deleted_at IS 'When a scan no longer found the file; its text is not searched any more.';
COMMENT ON COLUMN documents.documents.sha256 IS 'Null for a file that is too large to be read.';
COMMENT ON COLUMN documents.documents.modified_at IS 'Of the file; created_at and changed_at are what the document says of itself.';
COMMENT ON COLUMN documents.documents.segment_count IS 'Pages, slides, sheets, sections or messages, by segment_kind.';
COMMENT ON COLUMN documents.documents.notes IS 'What of the file could not be read although the rest was, one sentence a line.';
COMMENT ON COLUMN documents.documents.removed_characters IS 'Characters that are no text (NUL, lone surrogates, other controls) and were left out.';
COMMENT ON COLUMN documents.documents.fingerprint IS 'Of parser, its version and the chunk settings: another one means reading again gives another result.';
COMMENT ON TABLE documents.files IS 'One row per path ever seen in a landing folder, and the one state it is in.';
COMMENT ON COLUMN documents.files.path IS 'Relative to the source, with / between its parts.';
COMMENT ON COLUMN documents.files.state IS 'growing (still written), waiting (to be read), done, failed (outcome says how) or deleted (no longer in the folder).';
COMMENT ON COLUMN documents.files.outcome IS 'How reading it ended; null before. For a file that waits with an outcome, nothing has to be read.';
COMMENT ON COLUMN documents.files.sha256 IS 'Of the content that was read last.';
COMMENT ON COLUMN documents.files.claimed_by IS 'Load that is to deal with it; a load that died is followed by the next.';
COMMENT ON COLUMN documents.files.looked_at IS 'First look that found this size and time of change.';
COMMENT ON TABLE documents.texts IS 'The whole text of a document, as one string; offsets of its chunks count its characters.';
COMMENT ON TABLE documents.upload_files IS 'One row per file of an upload, refused ones included.';
COMMENT ON COLUMN documents.upload_files.name IS 'As the client called it; path is where it was put.';
COMMENT ON VIEW documents.upload_states IS 'One row per file of an upload with the outcome it came to; null while it waits.';
COMMENT ON TABLE documents.uploads IS 'One row per batch of files that was uploaded.';
COMMENT ON COLUMN documents.uploads.received_at IS 'When its files were moved into the landing folder.';
COMMENT ON TABLE market.adjustment_factors IS 'Cumulative backward factors of a source''s raw bars, one row for each change.';
COMMENT ON COLUMN market.adjustment_factors.ex_date IS 'First trade date on which the factor holds; before the first one of a symbol it is 1.';
COMMENT ON COLUMN market.adjustment_factors.factor IS 'Raw price times this is the backward-adjusted (hfq) price.';
COMMENT ON TABLE market.daily_bars IS 'One row per source, symbol and trade date; prices in the listing''s currency.';
COMMENT ON COLUMN market.daily_bars.source IS 'The feed''s source; a vendor or a set of files with one price adjustment.';
COMMENT ON COLUMN market.daily_bars.symbol IS 'Canonical symbol: code and exchange (600000.SH, AAPL.US).';
COMMENT ON COLUMN market.daily_bars.trade_date IS 'The exchange''s local date.';
COMMENT ON COLUMN market.daily_bars.pre_close IS 'Previous close as the vendor states it, NULL where it does not.';
COMMENT ON COLUMN market.daily_bars.volume IS 'Shares or units traded; 0 when suspended.';
COMMENT ON COLUMN market.daily_bars.amount IS 'Turnover in currency units, NULL where the vendor does not state it.';
COMMENT ON COLUMN market.daily_bars.adjustment IS 'raw, qfq (forward-adjusted) or hfq (backward-adjusted), as the feed declares.';
COMMENT ON COLUMN market.daily_bars.status IS 'traded, suspended (open, high and low NULL; close as the vendor carries it over) or no_trade.';
COMMENT ON COLUMN market.daily_bars.revision IS '1 when first loaded, raised by each later change of the row.';
COMMENT ON COLUMN market.daily_bars.load_id IS 'ops.loads row that wrote this version.';
COMMENT ON VIEW market.daily_bars_hfq IS 'Backward-adjusted bars: raw prices times the factor of their day. Volume and amount stay as traded.';
COMMENT ON COLUMN market.daily_bars_hfq.factor IS 'What the raw prices were multiplied with; 1 where no factor is known.';
COMMENT ON TABLE market.daily_bars_history IS 'Former versions of rows of market.daily_bars; written by the load that replaced them, in its transaction.';
COMMENT ON COLUMN market.daily_bars_history.revision IS 'Version of the row, from 1; the current one is in market.daily_bars.';
COMMENT ON COLUMN market.daily_bars_history.load_id IS 'ops.loads row that wrote this version.';
COMMENT ON COLUMN market.daily_bars_history.known_from IS 'ops.loads.known_at of the load that wrote this version, -infinity where no load is known.';
COMMENT ON COLUMN market.daily_bars_history.known_to IS 'ops.loads.known_at of the load that replaced it; exclusive.';
COMMENT ON COLUMN market.daily_bars_history.superseded_by IS 'ops.loads row that replaced this version.';
COMMENT ON VIEW market.daily_bars_qfq IS 'Forward-adjusted bars: those of the source''s newest trade date are raw. Volume and amount stay as traded.';
COMMENT ON COLUMN market.daily_bars_qfq.factor IS 'What the raw prices were multiplied with: the factor of the day over that of the source''s newest trade date.';
COMMENT ON VIEW market.daily_bars_versions IS 'Every version of every bar, known from known_from to before known_to.';
COMMENT ON TABLE market.failed_symbols IS 'Every question for a symbol that failed. A day that one of them still owes is partial.';
COMMENT ON COLUMN market.failed_symbols.owed_days IS 'Days of the question that no later one has answered; empty when all are there, or were asked for by a run of chosen symbols.';
COMMENT ON COLUMN market.failed_symbols.answered_at IS 'When the last owed day was answered, or asked for again in a question with a row of its own.';
COMMENT ON TABLE market.instrument_aliases IS 'Other names of instruments, with the dates on which they are meant: codes change, and tickers are used again.';
COMMENT ON COLUMN market.instrument_aliases.alias IS 'A canonical symbol that stands for `symbol` in these days (430047.BJ for 920047.BJ).';
COMMENT ON COLUMN market.instrument_aliases.valid_to IS 'First date on which it does not any more; NULL while it does.';
COMMENT ON TABLE market.instruments IS 'One row per source and symbol that the source gives bars of.';
COMMENT ON COLUMN market.instruments.board IS 'Section of the exchange as the vendor names it (main, ChiNext, STAR).';
COMMENT ON COLUMN market.instruments.listed_on IS 'First trade date; NULL where the source does not say, and then no bar is expected of it.';
COMMENT ON COLUMN market.instruments.delisted_on IS 'First date on which it is not listed any more; NULL while it is.';
COMMENT ON TABLE market.suspensions IS 'One row per symbol and trade date without trading, for the whole day.';
COMMENT ON COLUMN market.suspensions.reason IS 'As the source states it.';
COMMENT ON TABLE ops.alert_clock IS 'When the rules were evaluated last, and by whom.';
COMMENT ON TABLE ops.alert_messages IS 'What each channel is told about an alert: in order, at least once; message_id tells copies.';
COMMENT ON COLUMN ops.alert_messages.next_attempt_at IS 'Whoever sends it moves this ahead first: no other sends it before then.';
COMMENT ON COLUMN ops.alert_messages.given_up_at IS 'The channel refused it for too long.';
COMMENT ON TABLE ops.alerts IS 'One row from the moment a rule was broken; kept as history once it fired.';
COMMENT ON COLUMN ops.alerts.subject IS 'Labels of the metric, name=value in order of their names; empty where it has none.';
COMMENT ON COLUMN ops.alerts.value IS 'What was measured last while the rule was broken; allowed is the limit of its severity.';
COMMENT ON COLUMN ops.alerts.critical_since IS 'Since when the critical limit is passed without a break; NULL while it is not.';
COMMENT ON COLUMN ops.alerts.quiet_since IS 'Since when the rule is kept again; the alert ends when that has lasted long enough.';
COMMENT ON COLUMN ops.alerts.resolution IS 'normal: measured within the limit; absent: no longer measured; no_rule: the rule was taken away.';
COMMENT ON TABLE ops.api_tokens IS 'Bearer tokens of the HTTP API; the secret itself is not kept.';
COMMENT ON COLUMN ops.api_tokens.scope IS 'read: look; launch: also start, stop and upload; admin: also manage.';
COMMENT ON COLUMN ops.api_tokens.secret_sha256 IS 'SHA-256 of 32 random bytes, which no dictionary holds: salt would add nothing.';
COMMENT ON TABLE ops.audit IS 'One row for each change that a person or a program asked for.';
COMMENT ON COLUMN ops.audit.actor IS 'Name of the token, or user@host of a command.';
COMMENT ON COLUMN ops.audit.action IS 'What was done (documents.upload).';
COMMENT ON COLUMN ops.audit.subject IS 'To what (source and batch).';
COMMENT ON TABLE ops.backfill_adoption IS 'When Dagster was last asked for backfills that were launched without us.';
COMMENT ON VIEW ops.backfill_outcomes IS 'Each partition of each backfill with the load that counts; state waiting where there is none.';
COMMENT ON TABLE ops.backfill_partitions IS 'What each backfill is to load; position is the i of [i/n].';
COMMENT ON COLUMN ops.backfill_partitions.why IS 'The reason in the plan; NULL where nobody planned.';
COMMENT ON TABLE ops.backfill_runs IS 'Runs that worked for a backfill, written by the run when it begins.';
COMMENT ON COLUMN ops.backfill_runs.held_at IS 'When the run stopped before its next partition, because of a pause or a cancellation.';
COMMENT ON TABLE ops.backfill_segments IS 'The Dagster backfills of a backfill: the first, and one for each resumption.';
COMMENT ON COLUMN ops.backfill_segments.held_at IS 'When a pause kept partitions of it from being handed out.';
COMMENT ON COLUMN ops.backfill_segments.end_status IS 'Dagster''s own; NULL where Dagster no longer knows it.';
COMMENT ON COLUMN ops.backfill_segments.is_adopted IS 'Launched in Dagster itself, which alone starts its runs again.';
COMMENT ON COLUMN ops.backfill_segments.is_shared IS 'It loads other assets, too: whoever ends it ends these with it.';
COMMENT ON TABLE ops.backfills IS 'One row per backfill that somebody asked for.';
COMMENT ON COLUMN ops.backfills.feed IS 'What a pause of a feed names; a tag of its runs.';
COMMENT ON COLUMN ops.backfills.scope IS 'With target: the loads that count as its outcome.';
COMMENT ON COLUMN ops.backfills.fingerprint IS 'SHA-256 of asset, partitions, symbols and force.';
COMMENT ON COLUMN ops.backfills.wanted IS 'What people asked for last; state is how far that is.';
COMMENT ON COLUMN ops.backfills.problem IS 'Why it does not go on by itself, for a person.';
COMMENT ON COLUMN ops.backfills.retry_of IS 'The backfill whose failed partitions this one loads again.';
COMMENT ON COLUMN ops.backfills.adopted_from IS 'The Dagster backfill that was launched without us; NULL for a request.';
COMMENT ON TABLE ops.batch_metrics IS 'One row per batch of a stream, written right after its commit: a crash in between costs this row, never the batch.';
COMMENT ON COLUMN ops.batch_metrics.is_committed IS 'False for an attempt that was rolled back; its rows come again in other batches.';
COMMENT ON COLUMN ops.batch_metrics.seconds IS 'From taking the rows to the end of the commit.';
COMMENT ON COLUMN ops.batch_metrics.database_seconds IS 'The part of it that statements and the commit took, without those of alerts and outbox.';
COMMENT ON COLUMN ops.batch_metrics.waited_seconds IS 'How long its oldest record had waited when the batch was taken; NULL for files.';
COMMENT ON VIEW ops.batch_metrics_hourly IS 'Batches by target, shard and hour, with percentiles as arrays of p50, p95 and p99.';
COMMENT ON TABLE ops.browser_sessions IS 'Browsers that are signed in; they end with their token at the latest.';
COMMENT ON COLUMN ops.browser_sessions.secret_sha256 IS 'SHA-256 of the 32 random bytes in the cookie.';
COMMENT ON TABLE ops.checkpoints IS 'Chunks already staged for a window, committed together with their rows.';
COMMENT ON COLUMN ops.checkpoints."position" IS 'Where the source continues after this chunk.';
COMMENT ON TABLE ops.dead_letters IS 'Rows that were not loaded, with their original values, the reason and where they came from.';
COMMENT ON COLUMN ops.dead_letters.load_id IS 'Load whose ledger counts the row as rejected: the last one that read it, or a replay of its window since.';
COMMENT ON COLUMN ops.dead_letters.violations IS 'Array of {rule, column, observed, expected, hint}; the first names the reason.';
COMMENT ON COLUMN ops.dead_letters.state IS 'open; superseded when a later load of the window no longer has the row; replayed; discarded.';
COMMENT ON COLUMN ops.dead_letters.layout IS 'Array of [name, kind, column, raw, place] in the order of the source; null where rows cannot be corrected one by one.';
COMMENT ON COLUMN ops.dead_letters.read_load_id IS 'Last load that read the row from its source; null for rows from before this was kept, then load_id says it.';
COMMENT ON COLUMN ops.dead_letters.corrected IS 'The values last given instead, as {name: [text, kind]}; null if none were. original keeps those before.';
COMMENT ON COLUMN ops.dead_letters.answered_by IS 'Who gave them, or discarded the row.';
COMMENT ON COLUMN ops.dead_letters.answered_at IS 'When, also where the row is still wrong.';
COMMENT ON COLUMN ops.dead_letters.answered_from IS 'Name of the workbook that the answer came in; null for commands.';
COMMENT ON COLUMN ops.dead_letters.answer_load_id IS 'ops.loads row of the replay.';
COMMENT ON COLUMN ops.dead_letters.resolution IS 'Why the row was discarded.';
COMMENT ON COLUMN ops.dead_letters.personal IS 'Names in original whose values are shown as ***.';
COMMENT ON TABLE ops.eta_accuracy IS 'When a backfill was expected to end, at every tenth of the way, and when it did.';
COMMENT ON TABLE ops.leases IS 'One row per window being written now; released leases are deleted.';
COMMENT ON COLUMN ops.leases.token IS 'Fencing token: publishing with any other token is refused.';
COMMENT ON COLUMN ops.leases.backend_pid IS 'PostgreSQL backend that publishes; a takeover ends it first.';
COMMENT ON TABLE ops.loads IS 'One row per attempt to load one window: the row ledger and its outcome.';
COMMENT ON COLUMN ops.loads.resource IS 'target/scope/window_key: what one writer at a time may write.';
COMMENT ON COLUMN ops.loads.state IS 'running, success, failed, skipped, partial, not_ready or unconfirmed_empty.';
COMMENT ON COLUMN ops.loads.reason IS 'Why the state is what it is, from a closed set per domain (not_a_session).';
COMMENT ON COLUMN ops.loads.recognised_by IS 'How unchanged input was recognised: source_hash (not parsed), content_hash (not written), difference (row by row).';
COMMENT ON COLUMN ops.loads.rows_read IS 'Rows counted by the reader alone.';
COMMENT ON COLUMN ops.loads.metrics IS 'Seconds per stage, bytes, chunk size, reasons by rule and warnings.';
COMMENT ON COLUMN ops.loads.known_at IS 'From when on the rows this load wrote count as known: the start of its publishing transaction, one instant for all of its rows.';
COMMENT ON VIEW ops.masked_dead_letters IS 'Dead letters for readers: values of personal columns are ***.';
COMMENT ON TABLE ops.paused_feeds IS 'Feeds of which no run begins another partition, whoever started it.';
COMMENT ON TABLE ops.plan_windows IS 'Why a run looked at each of its windows, and the load that came of it.';
COMMENT ON COLUMN ops.plan_windows.why IS 'missing, failed, partial, failed_symbols, changed_source, correction_window, already_present, not_a_session and others.';
COMMENT ON TABLE ops.plans IS 'One row per run of a market feed: planned and actual calls, rows and seconds. finished_at stays NULL where the run was killed.';
COMMENT ON COLUMN ops.plans.route IS 'How most windows are fetched: one call a day, one call a symbol for the range, or from files.';
COMMENT ON COLUMN ops.plans.symbols IS 'The symbols the run was restricted to; NULL for all.';
COMMENT ON COLUMN ops.plans.planned_seconds IS 'From the calls of earlier runs, never less than the limit of the vendor allows; NULL without history.';
COMMENT ON COLUMN ops.plans.tokens_left IS 'Calls the vendor''s limit allowed at once when the plan was made; NULL without a limit.';
COMMENT ON TABLE ops.rate_limits IS 'One token bucket and circuit breaker for each vendor.';
COMMENT ON COLUMN ops.rate_limits.capacity IS 'Requests that may be made at once after a pause.';
COMMENT ON COLUMN ops.rate_limits.tokens IS 'Requests that could be made at updated_at; grows by refill_per_second.';
COMMENT ON COLUMN ops.rate_limits.blocked_until IS 'The vendor asked for silence until then (Retry-After).';
COMMENT ON COLUMN ops.rate_limits.breaker_state IS 'closed: requests pass; open: none passes until the cool-down is over; half_open: one probe is under way.';
COMMENT ON COLUMN ops.rate_limits.failures IS 'Infrastructure failures since the last success.';
COMMENT ON COLUMN ops.rate_limits.probe_until IS 'When another probe may be sent, if the present one never reports.';
COMMENT ON TABLE ops.row_hashes IS 'Hashes of the rows of a window as they were last written; may be emptied at any time.';
COMMENT ON COLUMN ops.row_hashes.written_by IS 'Transaction that published them, 64 bits (pg_current_xact_id).';
COMMENT ON COLUMN ops.row_hashes.row_versions IS 'Rows of the window in the target by the transaction that wrote them (xmin), as xid:rows or the SHA-256 of that: any other write changes it.';
COMMENT ON COLUMN ops.row_hashes.hashes IS 'One hash of 8 bytes, little-endian, for each row that was loaded.';
COMMENT ON COLUMN ops.row_hashes.added IS 'Hashes that came since, each after its place of 4 bytes: a load in which little differs writes down only that.';
COMMENT ON COLUMN ops.row_hashes.dropped IS 'Places of those of hashes that count no more, 4 bytes each.';
COMMENT ON TABLE ops.run_workers IS 'One row per Dagster run: the process that answers for it.';
COMMENT ON COLUMN ops.run_workers.stage IS 'created (by the process named here), launching (by it), working (in it); a later stage replaces an earlier one.';
COMMENT ON COLUMN ops.run_workers.machine_id IS 'Of the operating system, empty where it has none; tells a restarted machine from another one of the same name.';
COMMENT ON COLUMN ops.run_workers.boot_id IS 'Of the running kernel, empty where it has none; process ids mean nothing beyond it.';
COMMENT ON COLUMN ops.run_workers.pid_namespace IS 'Whose process ids these are (containers have their own), empty where there is none.';
COMMENT ON COLUMN ops.run_workers.process_start IS 'When the process started, as the kernel counts; tells it from a later process of the same id.';
COMMENT ON TABLE ops.schema_migrations IS 'One row per migration file applied to this database.';
COMMENT ON COLUMN ops.schema_migrations.checksum IS 'SHA-256 of the file with LF line ends; an applied file must not be edited.';
COMMENT ON TABLE ops.windows IS 'One row per window ever published: hashes, row count and version.';
COMMENT ON COLUMN ops.windows.version IS 'Raised by every write through the core that touches the window.';
COMMENT ON COLUMN ops.windows.published_version IS 'The version at which source_hash and content_hash were true.';

COMMENT ON ROUTINE documents.search(text,integer,text) IS 'Pieces of current documents that have every word of the query, the best first.';
COMMENT ON ROUTINE documents.search_query(text) IS 'What a person typed as a condition on documents.chunks.search_vector; null if no word is left to look for.';
COMMENT ON ROUTINE documents.search_terms(text) IS 'Text as words for the index: pairs of characters where a script has no spaces, spaces for punctuation.';
COMMENT ON ROUTINE documents.search_vector(text) IS 'What the index of documents.chunks holds for a text: English words by their stem, others as they are.';
COMMENT ON ROUTINE market.daily_bars_as_of(timestamp with time zone) IS 'The rows of market.daily_bars as they were known at an instant.';
COMMENT ON ROUTINE ops.tells_row_versions(regclass) IS 'Whether xmin says who wrote each row of a table, and each row is what was sent.';
