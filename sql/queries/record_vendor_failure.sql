-- A failed probe opens the breaker again at once. Requests that were under way when it opened
-- report late; they do not prolong the cool-down.
UPDATE ops.rate_limits
SET failures = failures + 1,
    breaker_state = CASE
        WHEN breaker_state = 'half_open' OR failures + 1 >= failure_threshold THEN 'open'
        ELSE breaker_state
    END,
    opened_at = CASE
        WHEN breaker_state = 'half_open' THEN clock_timestamp()
        WHEN breaker_state = 'closed' AND failures + 1 >= failure_threshold THEN clock_timestamp()
        ELSE opened_at
    END,
    probe_until = NULL
WHERE name = %(name)s
RETURNING breaker_state
