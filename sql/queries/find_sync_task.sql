-- Backfills that a task id of the original design can mean, the likeliest first.
SELECT backfill_id
FROM ops.backfills
WHERE first_key = %(first_key)s
  AND last_key = %(last_key)s
  AND floor(extract(epoch FROM requested_at)) = %(requested_epoch)s
  AND (%(feed)s::text IS NULL OR feed = %(feed)s)
ORDER BY (feed = %(default_feed)s) DESC, backfill_id DESC
LIMIT 1
