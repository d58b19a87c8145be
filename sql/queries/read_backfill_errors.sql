-- Partitions of a backfill that did not end well, newest first; total counts all pages.
SELECT o.position, o.partition_key, o.state, o.error_class,
       coalesce(nullif(o.error_message, ''), o.reason) AS message,
       o.load_id, o.run_id, o.rows_rejected, o.finished_at,
       count(*) OVER () AS total
FROM ops.backfill_outcomes AS o
JOIN ops.backfills AS b ON b.backfill_id = o.backfill_id
WHERE o.backfill_id = %(backfill_id)s
  AND (o.state IN ('failed', 'partial', 'not_ready', 'unconfirmed_empty')
       OR o.state IN ('waiting', 'running') AND b.ended_at IS NOT NULL)
ORDER BY o.position DESC
