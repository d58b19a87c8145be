-- How often a vendor may be asked, by all runs and hosts together, on the database's clock.
CREATE TABLE ops.rate_limits (
    name                text             NOT NULL,
    capacity            double precision NOT NULL,
    refill_per_second   double precision NOT NULL,
    tokens              double precision NOT NULL,
    updated_at          timestamptz      NOT NULL DEFAULT clock_timestamp(),
    blocked_until       timestamptz,
    breaker_state       text             NOT NULL DEFAULT 'closed',
    failures            integer          NOT NULL DEFAULT 0,
    failure_threshold   integer          NOT NULL,
    cool_down_seconds   double precision NOT NULL,
    opened_at           timestamptz,
    probe_until         timestamptz,
    CONSTRAINT rate_limits_pkey PRIMARY KEY (name),
    CONSTRAINT rate_limits_grant_something CHECK (capacity >= 1 AND refill_per_second > 0),
    -- Nobody is ever given more than there is.
    CONSTRAINT rate_limits_tokens_are_there CHECK (tokens BETWEEN 0 AND capacity),
    CONSTRAINT rate_limits_breaker_opens CHECK (failure_threshold >= 1 AND cool_down_seconds > 0),
    CONSTRAINT rate_limits_breaker_state_is_known CHECK (breaker_state IN ('closed', 'open', 'half_open'))
);
COMMENT ON TABLE ops.rate_limits IS 'One token bucket and circuit breaker for each vendor.';
COMMENT ON COLUMN ops.rate_limits.capacity IS 'Requests that may be made at once after a pause.';
COMMENT ON COLUMN ops.rate_limits.tokens IS 'Requests that could be made at updated_at; grows by refill_per_second.';
COMMENT ON COLUMN ops.rate_limits.blocked_until IS 'The vendor asked for silence until then (Retry-After).';
COMMENT ON COLUMN ops.rate_limits.breaker_state IS 'closed: requests pass; open: none passes until the cool-down is over; half_open: one probe is under way.';
COMMENT ON COLUMN ops.rate_limits.failures IS 'Infrastructure failures since the last success.';
COMMENT ON COLUMN ops.rate_limits.probe_until IS 'When another probe may be sent, if the present one never reports.';
