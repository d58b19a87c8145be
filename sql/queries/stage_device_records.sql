-- One temporary table a connection: making it for each part costs 20 to 40 % of a small one.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_device_records (
    device_sn           text COLLATE "C",
    measured_at         timestamptz,
    heart_rate_bpm      numeric(5, 2),
    spo2_pct            numeric(5, 2),
    temperature_celsius numeric(5, 2),
    systolic_mmhg       numeric(5, 2),
    diastolic_mmhg      numeric(5, 2),
    steps               integer,
    sleep_minutes       integer,
    extra               text,
    row_number          bigint
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_device_periods (
    device_sn           text COLLATE "C",
    period              date,
    heart_rate_bpm      numeric(5, 2),
    spo2_pct            numeric(5, 2),
    temperature_celsius numeric(5, 2),
    systolic_mmhg       numeric(5, 2),
    diastolic_mmhg      numeric(5, 2),
    steps               integer,
    sleep_minutes       integer,
    extra               text,
    row_number          bigint
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS written_device_records (
    LIKE devices.latest,
    day                 date,
    is_new              boolean
) ON COMMIT DELETE ROWS
