-- Devices: their records, what is rolled up from them, and how they are shared among writers.
CREATE SCHEMA devices;
COMMENT ON SCHEMA devices IS 'Health records of many devices, rolled up by day and week, written by shard.';

CREATE TABLE devices.records (
    device_sn           text COLLATE "C" NOT NULL,
    measured_at         timestamptz   NOT NULL,
    heart_rate_bpm      numeric(5, 2),
    spo2_pct            numeric(5, 2),
    temperature_celsius numeric(5, 2),
    systolic_mmhg       numeric(5, 2),
    diastolic_mmhg      numeric(5, 2),
    steps               integer,
    sleep_minutes       integer,
    extra               jsonb,
    load_id             bigint        NOT NULL,
    received_at         timestamptz   NOT NULL DEFAULT now(),
    CONSTRAINT records_pkey PRIMARY KEY (device_sn, measured_at)
);
COMMENT ON TABLE devices.records IS 'One row per device and moment; a record sent again with other values corrects it.';
COMMENT ON COLUMN devices.records.steps IS 'Counted by the device since its midnight.';
COMMENT ON COLUMN devices.records.sleep_minutes IS 'Counted by the device since the night began.';
COMMENT ON COLUMN devices.records.extra IS 'Fields that the contract has no column for, as the device sent them.';

-- The newest record of each device: a record that comes late never moves it backwards.
CREATE TABLE devices.latest (
    device_sn           text COLLATE "C" NOT NULL,
    measured_at         timestamptz   NOT NULL,
    heart_rate_bpm      numeric(5, 2),
    spo2_pct            numeric(5, 2),
    temperature_celsius numeric(5, 2),
    systolic_mmhg       numeric(5, 2),
    diastolic_mmhg      numeric(5, 2),
    steps               integer,
    sleep_minutes       integer,
    extra               jsonb,
    load_id             bigint        NOT NULL,
    CONSTRAINT latest_pkey PRIMARY KEY (device_sn)
);
COMMENT ON TABLE devices.latest IS 'State of each device: its newest record, as it was last corrected.';

-- Sums and counts, not averages: records are added to them, exactly, without looking at the others.
CREATE TABLE devices.daily_rollups (
    device_sn           text COLLATE "C" NOT NULL,
    day                 date          NOT NULL,
    record_count        bigint        NOT NULL,
    heart_rate_sum      numeric       NOT NULL,
    heart_rate_count    bigint        NOT NULL,
    heart_rate_min      numeric(5, 2),
    heart_rate_max      numeric(5, 2),
    spo2_sum            numeric       NOT NULL,
    spo2_count          bigint        NOT NULL,
    spo2_min            numeric(5, 2),
    temperature_sum     numeric       NOT NULL,
    temperature_count   bigint        NOT NULL,
    temperature_max     numeric(5, 2),
    systolic_sum        numeric       NOT NULL,
    systolic_count      bigint        NOT NULL,
    systolic_max        numeric(5, 2),
    diastolic_sum       numeric       NOT NULL,
    diastolic_count     bigint        NOT NULL,
    diastolic_max       numeric(5, 2),
    steps               integer,
    sleep_minutes       integer,
    CONSTRAINT daily_rollups_pkey PRIMARY KEY (device_sn, day)
);
COMMENT ON TABLE devices.daily_rollups IS 'What the records of one device and day (UTC) add up to; committed with the records.';

CREATE TABLE devices.daily_supplied (
    device_sn           text COLLATE "C" NOT NULL,
    day                 date          NOT NULL,
    heart_rate_bpm      numeric(5, 2),
    spo2_pct            numeric(5, 2),
    temperature_celsius numeric(5, 2),
    systolic_mmhg       numeric(5, 2),
    diastolic_mmhg      numeric(5, 2),
    steps               integer,
    sleep_minutes       integer,
    extra               jsonb,
    load_id             bigint        NOT NULL,
    CONSTRAINT daily_supplied_pkey PRIMARY KEY (device_sn, day)
);
COMMENT ON TABLE devices.daily_supplied IS 'What a device itself says of a day; what is sent again replaces it.';

CREATE TABLE devices.weekly_supplied (
    device_sn           text COLLATE "C" NOT NULL,
    week                date          NOT NULL,
    heart_rate_bpm      numeric(5, 2),
    spo2_pct            numeric(5, 2),
    temperature_celsius numeric(5, 2),
    systolic_mmhg       numeric(5, 2),
    diastolic_mmhg      numeric(5, 2),
    steps               integer,
    sleep_minutes       integer,
    extra               jsonb,
    load_id             bigint        NOT NULL,
    CONSTRAINT weekly_supplied_pkey PRIMARY KEY (device_sn, week),
    CONSTRAINT weekly_supplied_begins_on_monday CHECK (EXTRACT(isodow FROM week) = 1)
);
COMMENT ON TABLE devices.weekly_supplied IS 'What a device itself says of a week, from its Monday; what is sent again replaces it.';

-- Views: right at every moment, whatever comes late or is corrected.
CREATE VIEW devices.daily AS
SELECT
    device_sn,
    day,
    coalesce(r.record_count, 0) AS record_count,
    coalesce(s.heart_rate_bpm, round(r.heart_rate_sum / nullif(r.heart_rate_count, 0), 2)) AS heart_rate_bpm,
    r.heart_rate_min,
    r.heart_rate_max,
    coalesce(s.spo2_pct, round(r.spo2_sum / nullif(r.spo2_count, 0), 2)) AS spo2_pct,
    r.spo2_min,
    coalesce(s.temperature_celsius, round(r.temperature_sum / nullif(r.temperature_count, 0), 2)) AS temperature_celsius,
    r.temperature_max,
    coalesce(s.systolic_mmhg, round(r.systolic_sum / nullif(r.systolic_count, 0), 2)) AS systolic_mmhg,
    r.systolic_max,
    coalesce(s.diastolic_mmhg, round(r.diastolic_sum / nullif(r.diastolic_count, 0), 2)) AS diastolic_mmhg,
    r.diastolic_max,
    coalesce(s.steps, r.steps) AS steps,
    coalesce(s.sleep_minutes, r.sleep_minutes) AS sleep_minutes,
    s.extra,
    s.device_sn IS NOT NULL AS is_supplied,
    array_remove(ARRAY[
        CASE WHEN s.heart_rate_bpm <> round(r.heart_rate_sum / nullif(r.heart_rate_count, 0), 2) THEN 'heart_rate_bpm' END,
        CASE WHEN s.spo2_pct <> round(r.spo2_sum / nullif(r.spo2_count, 0), 2) THEN 'spo2_pct' END,
        CASE WHEN s.temperature_celsius <> round(r.temperature_sum / nullif(r.temperature_count, 0), 2) THEN 'temperature_celsius' END,
        CASE WHEN s.systolic_mmhg <> round(r.systolic_sum / nullif(r.systolic_count, 0), 2) THEN 'systolic_mmhg' END,
        CASE WHEN s.diastolic_mmhg <> round(r.diastolic_sum / nullif(r.diastolic_count, 0), 2) THEN 'diastolic_mmhg' END,
        CASE WHEN s.steps <> r.steps THEN 'steps' END,
        CASE WHEN s.sleep_minutes <> r.sleep_minutes THEN 'sleep_minutes' END
    ], NULL) AS differing
FROM devices.daily_rollups AS r
FULL JOIN devices.daily_supplied AS s USING (device_sn, day);
COMMENT ON VIEW devices.daily IS 'One row per device and day (UTC): supplied values, and rolled up ones where none is supplied.';
COMMENT ON COLUMN devices.daily.differing IS 'Columns whose supplied value is not what the records add up to; compare devices.daily_rollups.';

CREATE VIEW devices.weekly AS
SELECT
    device_sn,
    week,
    coalesce(r.record_count, 0) AS record_count,
    coalesce(r.day_count, 0) AS day_count,
    coalesce(s.heart_rate_bpm, r.heart_rate_bpm) AS heart_rate_bpm,
    coalesce(s.spo2_pct, r.spo2_pct) AS spo2_pct,
    coalesce(s.temperature_celsius, r.temperature_celsius) AS temperature_celsius,
    coalesce(s.systolic_mmhg, r.systolic_mmhg) AS systolic_mmhg,
    coalesce(s.diastolic_mmhg, r.diastolic_mmhg) AS diastolic_mmhg,
    coalesce(s.steps, r.steps) AS steps,
    coalesce(s.sleep_minutes, r.sleep_minutes) AS sleep_minutes,
    s.extra,
    s.device_sn IS NOT NULL AS is_supplied,
    array_remove(ARRAY[
        CASE WHEN s.heart_rate_bpm <> r.heart_rate_bpm THEN 'heart_rate_bpm' END,
        CASE WHEN s.spo2_pct <> r.spo2_pct THEN 'spo2_pct' END,
        CASE WHEN s.temperature_celsius <> r.temperature_celsius THEN 'temperature_celsius' END,
        CASE WHEN s.systolic_mmhg <> r.systolic_mmhg THEN 'systolic_mmhg' END,
        CASE WHEN s.diastolic_mmhg <> r.diastolic_mmhg THEN 'diastolic_mmhg' END,
        CASE WHEN s.steps <> r.steps THEN 'steps' END,
        CASE WHEN s.sleep_minutes <> r.sleep_minutes THEN 'sleep_minutes' END
    ], NULL) AS differing
FROM (
    SELECT
        device_sn,
        day - (EXTRACT(isodow FROM day)::integer - 1) AS week,
        sum(record_count)::bigint AS record_count,
        count(*) AS day_count,
        round(avg(heart_rate_bpm), 2) AS heart_rate_bpm,
        round(avg(spo2_pct), 2) AS spo2_pct,
        round(avg(temperature_celsius), 2) AS temperature_celsius,
        round(avg(systolic_mmhg), 2) AS systolic_mmhg,
        round(avg(diastolic_mmhg), 2) AS diastolic_mmhg,
        sum(steps) AS steps,
        sum(sleep_minutes) AS sleep_minutes
    FROM devices.daily
    GROUP BY 1, 2
) AS r
FULL JOIN devices.weekly_supplied AS s USING (device_sn, week);
COMMENT ON VIEW devices.weekly IS 'One row per device and week (from Monday): supplied values, else averages and sums of the days.';
COMMENT ON COLUMN devices.weekly.differing IS 'Columns whose supplied value is not what the days add up to.';

-- Who writes which device: device -> bucket (first byte of SHA-256 of its name) -> shard.
CREATE TABLE devices.shard_map (
    bucket             smallint    NOT NULL,
    shard              smallint    NOT NULL,
    CONSTRAINT shard_map_pkey PRIMARY KEY (bucket),
    CONSTRAINT shard_map_has_256_buckets CHECK (bucket BETWEEN 0 AND 255),
    CONSTRAINT shard_map_shards_are_counted_from_zero CHECK (shard BETWEEN 0 AND 255)
);
COMMENT ON TABLE devices.shard_map IS 'The shard of each of the 256 virtual buckets.';

CREATE TABLE devices.shard_map_version (
    version            bigint      NOT NULL,
    changed_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT shard_map_version_pkey PRIMARY KEY (version)
);
-- One row alone. Writers share its lock until they commit; whoever changes the map waits for them.
CREATE UNIQUE INDEX shard_map_version_is_one ON devices.shard_map_version ((true));
COMMENT ON TABLE devices.shard_map_version IS 'Raised with every change of the map: what was split by an older one is not published.';

CREATE TABLE devices.files (
    file_id            bigint      GENERATED ALWAYS AS IDENTITY,
    path               text COLLATE "C" NOT NULL,
    sha256             text COLLATE "C" NOT NULL,
    size_bytes         bigint      NOT NULL,
    state              text COLLATE "C" NOT NULL DEFAULT 'waiting',
    reason             text,
    first_seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at        timestamptz,
    CONSTRAINT files_pkey PRIMARY KEY (file_id),
    CONSTRAINT files_content_is_loaded_once UNIQUE (path, sha256),
    CONSTRAINT files_state_is_known CHECK (state IN ('waiting', 'done', 'failed'))
);
COMMENT ON TABLE devices.files IS 'One row per content seen at a path of the landing folder.';

-- Kept by bucket, since a bucket may go to another shard in the middle of a file.
CREATE TABLE devices.file_progress (
    file_id            bigint      NOT NULL,
    map_version        bigint      NOT NULL,
    shard              smallint    NOT NULL,
    buckets            smallint[]  NOT NULL,
    last_row           bigint      NOT NULL,
    CONSTRAINT file_progress_pkey PRIMARY KEY (file_id, map_version, shard),
    CONSTRAINT file_progress_file_fkey FOREIGN KEY (file_id) REFERENCES devices.files ON DELETE CASCADE
);
COMMENT ON TABLE devices.file_progress IS 'How far the buckets of a shard are, in a file that is not done; committed with the rows.';
COMMENT ON COLUMN devices.file_progress.last_row IS 'Rows of these buckets up to this one are committed; the most over all versions counts.';
