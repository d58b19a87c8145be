-- How often backfills ended later than was estimated; no row before the first was judged.
SELECT count(DISTINCT a.backfill_id) AS backfills,
       count(*) AS estimates,
       (100.0 * count(*) FILTER (WHERE a.ended_at > a.p50_at) / count(*))::float8
           AS later_than_p50_pct,
       (100.0 * count(*) FILTER (WHERE a.ended_at > a.p90_at) / count(*))::float8
           AS later_than_p90_pct
FROM ops.eta_accuracy AS a
JOIN ops.backfills AS b ON b.backfill_id = a.backfill_id
WHERE a.ended_at IS NOT NULL
  AND (%(feed)s::text IS NULL OR b.feed = %(feed)s)
HAVING count(*) > 0
