-- Backfills that have not ended, oldest first, each with its newest segment and the tenths of its way
-- that have an estimate of its end.
SELECT b.backfill_id, b.asset_key, b.feed, b.wanted, b.state, b.priority, b.is_forced,
       coalesce(b.symbols, '{}') AS symbols, b.first_key, b.last_key, b.retry_of,
       EXISTS (SELECT FROM ops.paused_feeds AS f WHERE f.feed = b.feed) AS is_feed_paused,
       s.dagster_backfill_id, s.held_at IS NOT NULL AS is_held,
       s.end_status, coalesce(s.is_adopted, false) AS is_adopted,
       coalesce(s.is_shared, false) AS is_shared, b.partitions,
       ARRAY(SELECT e.done_tenths
             FROM ops.eta_accuracy AS e
             WHERE e.backfill_id = b.backfill_id) AS estimated_tenths
FROM ops.backfills AS b
LEFT JOIN LATERAL (
    SELECT *
    FROM ops.backfill_segments AS s
    WHERE s.backfill_id = b.backfill_id
    ORDER BY s.launched_at DESC
    LIMIT 1
) AS s ON true
WHERE b.ended_at IS NULL
ORDER BY b.backfill_id
