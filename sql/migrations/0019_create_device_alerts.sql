-- Alerts about values of devices, and what is told to others about them, both committed with the records.
CREATE TABLE devices.alerts (
    alert_id           bigint      GENERATED ALWAYS AS IDENTITY,
    device_sn          text COLLATE "C" NOT NULL,
    rule               text COLLATE "C" NOT NULL,
    metric             text COLLATE "C" NOT NULL,
    severity           text COLLATE "C" NOT NULL,
    value              numeric     NOT NULL,
    allowed            text        NOT NULL,
    broken_since       timestamptz NOT NULL,
    opened_at          timestamptz NOT NULL,
    resolved_at        timestamptz,
    resolution         text COLLATE "C",
    load_id            bigint      NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT alerts_pkey PRIMARY KEY (alert_id),
    CONSTRAINT alerts_resolution_is_known CHECK (resolution IN ('normal', 'not_watched')),
    CONSTRAINT alerts_resolution_says_why CHECK ((resolved_at IS NULL) = (resolution IS NULL))
);
CREATE UNIQUE INDEX alerts_are_open_once ON devices.alerts (device_sn, metric, rule) WHERE resolved_at IS NULL;
CREATE INDEX alerts_by_time ON devices.alerts (opened_at);
COMMENT ON TABLE devices.alerts IS 'One row from the record that broke a rule long enough to the record that no longer did.';
COMMENT ON COLUMN devices.alerts.value IS 'What was measured when the alert opened.';
COMMENT ON COLUMN devices.alerts.broken_since IS 'Moment of the first record of the run that broke the rule; like opened_at and resolved_at, by the device.';
COMMENT ON COLUMN devices.alerts.resolution IS 'normal: a later record kept the rule; not_watched: the rule is no longer for this device, at the time of the server.';

-- Only devices that break a rule now, or did before their newest record, have rows here: most have none.
CREATE TABLE devices.alert_runs (
    device_sn          text COLLATE "C" NOT NULL,
    rule               text COLLATE "C" NOT NULL,
    measured_at        timestamptz NOT NULL,
    run_count          bigint      NOT NULL,
    run_since          timestamptz,
    prior_count        bigint      NOT NULL,
    prior_since        timestamptz,
    CONSTRAINT alert_runs_pkey PRIMARY KEY (device_sn, rule)
);
COMMENT ON TABLE devices.alert_runs IS 'How many records in a row broke a rule, up to the newest one; and up to the one before, in case the newest is corrected.';

-- What leaves after the commit. A row goes when it was sent; identity order is commit order of one device.
CREATE TABLE devices.outbox (
    outbox_id          bigint      GENERATED ALWAYS AS IDENTITY,
    destination        text COLLATE "C" NOT NULL,
    bucket             smallint    NOT NULL,
    device_sn          text COLLATE "C" NOT NULL,
    kind               text COLLATE "C" NOT NULL,
    payload            jsonb       NOT NULL,
    load_id            bigint      NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    attempts           integer     NOT NULL DEFAULT 0,
    next_attempt_at    timestamptz,
    last_error         text,
    dead_at            timestamptz,
    CONSTRAINT outbox_pkey PRIMARY KEY (outbox_id),
    CONSTRAINT outbox_destination_is_known CHECK (destination IN ('redis', 'webhook')),
    CONSTRAINT outbox_kind_is_known CHECK (kind IN ('state', 'alert_opened', 'alert_resolved')),
    CONSTRAINT outbox_bucket_is_known CHECK (bucket BETWEEN 0 AND 255)
);
CREATE INDEX outbox_waiting ON devices.outbox (destination, outbox_id) WHERE dead_at IS NULL;
CREATE INDEX outbox_held_back ON devices.outbox (device_sn, destination) WHERE dead_at IS NULL AND next_attempt_at IS NOT NULL;
CREATE INDEX outbox_dead ON devices.outbox (outbox_id) WHERE dead_at IS NOT NULL;
COMMENT ON TABLE devices.outbox IS 'Messages that are to be sent, in order per device and destination, at least once; outbox_id tells copies.';
COMMENT ON COLUMN devices.outbox.next_attempt_at IS 'The device waits until then, since the destination refused this message.';
COMMENT ON COLUMN devices.outbox.dead_at IS 'Refused too often: a dead letter, no longer in the way of the messages after it.';
