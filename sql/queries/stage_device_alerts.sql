-- Made when the first record of a connection breaks a rule; they empty themselves at each commit.
CREATE TEMPORARY TABLE IF NOT EXISTS device_alert_points (
    device_sn           text COLLATE "C",
    rule                text COLLATE "C",
    metric              text COLLATE "C",
    measured_at         timestamptz,
    value               numeric,
    is_breach           boolean,
    island              bigint,
    run_count           bigint,
    run_since           timestamptz,
    prior_count         bigint,
    prior_since         timestamptz,
    is_firing           boolean
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS device_alert_changes (
    device_sn           text COLLATE "C",
    measured_at         timestamptz,
    kind                text COLLATE "C",
    payload             jsonb,
    row_number          bigint
) ON COMMIT DELETE ROWS
