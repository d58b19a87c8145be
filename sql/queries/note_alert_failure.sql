-- A channel did not take a message: again later, or never where that has gone on for too long.
UPDATE ops.alert_messages
SET last_error = %(error)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(wait_seconds)s),
    given_up_at = CASE
        WHEN %(is_final)s
            OR created_at < clock_timestamp() - make_interval(secs => %(attempts_seconds)s)
        THEN clock_timestamp()
    END
WHERE message_id = %(message_id)s AND sent_at IS NULL
RETURNING given_up_at IS NOT NULL
