-- Alerts about the system itself: what was wrong from when to when, and who was told.
CREATE TABLE ops.alerts (
    alert_id           bigint      GENERATED ALWAYS AS IDENTITY,
    rule               text COLLATE "C" NOT NULL,
    subject            text COLLATE "C" NOT NULL,
    metric             text COLLATE "C" NOT NULL,
    severity           text COLLATE "C" NOT NULL,
    state              text COLLATE "C" NOT NULL,
    value              double precision NOT NULL,
    allowed            double precision NOT NULL,
    broken_since       timestamptz NOT NULL,
    critical_since     timestamptz,
    quiet_since        timestamptz,
    fired_at           timestamptz,
    resolved_at        timestamptz,
    resolution         text COLLATE "C",
    CONSTRAINT alerts_pkey PRIMARY KEY (alert_id),
    CONSTRAINT alerts_severity_is_known CHECK (severity IN ('warning', 'critical')),
    CONSTRAINT alerts_state_is_known CHECK (state IN ('pending', 'firing', 'resolved')),
    CONSTRAINT alerts_state_has_its_times CHECK (
        (fired_at IS NULL) = (state = 'pending') AND (resolved_at IS NULL) = (state <> 'resolved')),
    CONSTRAINT alerts_resolution_is_known CHECK (resolution IN ('normal', 'absent', 'no_rule')),
    CONSTRAINT alerts_resolution_says_why CHECK ((resolved_at IS NULL) = (resolution IS NULL))
);
CREATE UNIQUE INDEX alerts_are_open_once ON ops.alerts (rule, subject) WHERE resolved_at IS NULL;
CREATE INDEX alerts_by_end ON ops.alerts (resolved_at);
COMMENT ON TABLE ops.alerts IS 'One row from the moment a rule was broken; kept as history once it fired.';
COMMENT ON COLUMN ops.alerts.subject IS 'Labels of the metric, name=value in order of their names; empty where it has none.';
COMMENT ON COLUMN ops.alerts.value IS 'What was measured last while the rule was broken; allowed is the limit of its severity.';
COMMENT ON COLUMN ops.alerts.critical_since IS 'Since when the critical limit is passed without a break; NULL while it is not.';
COMMENT ON COLUMN ops.alerts.quiet_since IS 'Since when the rule is kept again; the alert ends when that has lasted long enough.';
COMMENT ON COLUMN ops.alerts.resolution IS 'normal: measured within the limit; absent: no longer measured; no_rule: the rule was taken away.';

-- Written with the change of the alert, sent after its commit.
CREATE TABLE ops.alert_messages (
    message_id         bigint      GENERATED ALWAYS AS IDENTITY,
    alert_id           bigint      NOT NULL,
    channel            text COLLATE "C" NOT NULL,
    kind               text COLLATE "C" NOT NULL,
    payload            jsonb       NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts           integer     NOT NULL DEFAULT 0,
    next_attempt_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_error         text,
    sent_at            timestamptz,
    given_up_at        timestamptz,
    CONSTRAINT alert_messages_pkey PRIMARY KEY (message_id),
    CONSTRAINT alert_messages_alert_fkey FOREIGN KEY (alert_id) REFERENCES ops.alerts ON DELETE CASCADE,
    CONSTRAINT alert_messages_kind_is_known CHECK (kind IN ('fired', 'raised', 'resolved'))
);
CREATE INDEX alert_messages_waiting ON ops.alert_messages (channel, alert_id, message_id)
    WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX alert_messages_by_alert ON ops.alert_messages (alert_id);
COMMENT ON TABLE ops.alert_messages IS 'What each channel is told about an alert: in order, at least once; message_id tells copies.';
COMMENT ON COLUMN ops.alert_messages.next_attempt_at IS 'Whoever sends it moves this ahead first: no other sends it before then.';
COMMENT ON COLUMN ops.alert_messages.given_up_at IS 'The channel refused it for too long.';

-- Sensor and API both evaluate; the row lets one of them do so at a time, and not too often.
CREATE TABLE ops.alert_clock (
    only_row           boolean     NOT NULL DEFAULT true,
    evaluated_at       timestamptz NOT NULL DEFAULT '-infinity',
    evaluated_by       text        NOT NULL DEFAULT '',
    CONSTRAINT alert_clock_pkey PRIMARY KEY (only_row),
    CONSTRAINT alert_clock_has_one_row CHECK (only_row)
);
INSERT INTO ops.alert_clock DEFAULT VALUES;
COMMENT ON TABLE ops.alert_clock IS 'When the rules were evaluated last, and by whom.';

-- What ended lately: rows are nearly in the order of their ends.
CREATE INDEX loads_by_end ON ops.loads USING brin (finished_at);
