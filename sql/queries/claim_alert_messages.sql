-- Messages that are due, each channel's in the order of its alert; nobody else sends them meanwhile.
WITH due AS (
    SELECT m.message_id
    FROM ops.alert_messages AS m
    WHERE m.sent_at IS NULL
      AND m.given_up_at IS NULL
      AND m.next_attempt_at <= clock_timestamp()
      AND NOT EXISTS (
          SELECT
          FROM ops.alert_messages AS e
          WHERE e.alert_id = m.alert_id
            AND e.channel = m.channel
            AND e.message_id < m.message_id
            AND e.sent_at IS NULL
            AND e.given_up_at IS NULL)
    ORDER BY m.message_id
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
)
UPDATE ops.alert_messages AS m
SET attempts = attempts + 1,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(claim_seconds)s)
FROM due
WHERE m.message_id = due.message_id
RETURNING m.message_id, m.channel, m.kind, m.payload, m.attempts, m.created_at
