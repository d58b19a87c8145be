-- How far a batch is. What ended before the batch was received says nothing about the speed.
SELECT
    b.source,
    b.actor,
    b.received_at,
    b.total_docs,
    count(s.outcome) FILTER (WHERE s.outcome = 'ok') AS completed,
    count(s.outcome) FILTER (WHERE s.outcome <> 'ok') AS failed,
    count(s.outcome) FILTER (WHERE s.finished_at > b.received_at) AS ended_since
FROM documents.uploads AS b
LEFT JOIN documents.upload_states AS s USING (batch_id)
WHERE b.batch_id = %(batch_id)s
GROUP BY b.batch_id
