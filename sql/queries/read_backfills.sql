-- Backfills, newest first, each with Dagster's backfills that carry it out.
SELECT b.backfill_id, b.asset_key, b.feed, b.first_key, b.last_key, b.partitions, b.is_forced,
       coalesce(b.symbols, '{}') AS symbols, b.priority, b.wanted, b.state,
       EXISTS (SELECT FROM ops.paused_feeds AS f WHERE f.feed = b.feed) AS is_feed_paused,
       b.problem, b.retry_of, b.requested_by, b.requested_at, b.started_at, b.ended_at,
       ARRAY(SELECT s.dagster_backfill_id
             FROM ops.backfill_segments AS s
             WHERE s.backfill_id = b.backfill_id
             ORDER BY s.launched_at) AS dagster_backfill_ids
FROM ops.backfills AS b
WHERE (%(backfill_id)s::bigint IS NULL OR b.backfill_id = %(backfill_id)s)
  AND (%(before_id)s::bigint IS NULL OR b.backfill_id < %(before_id)s)
  AND (%(feed)s::text IS NULL OR b.feed = %(feed)s)
  AND (NOT %(is_unfinished)s OR b.ended_at IS NULL)
ORDER BY b.backfill_id DESC
LIMIT %(limit)s
