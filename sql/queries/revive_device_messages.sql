WITH revived AS (
    UPDATE devices.outbox
    SET dead_at = NULL,
        attempts = 0,
        next_attempt_at = NULL
    WHERE dead_at IS NOT NULL
    RETURNING outbox_id
), answered AS (
    UPDATE ops.dead_letters
    SET state = 'replayed',
        resolved_at = clock_timestamp()
    WHERE target = 'devices.outbox'
      AND state = 'open'
      AND row_number IN (SELECT outbox_id FROM revived)
)
SELECT count(*)
FROM revived
