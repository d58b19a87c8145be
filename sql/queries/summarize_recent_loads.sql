-- Per table: how its loads among the newest of all ended, and when the last of them was.
SELECT target,
       count(*) FILTER (WHERE state IN ('success', 'skipped')) AS good,
       count(*) FILTER (WHERE state IN ('partial', 'not_ready', 'unconfirmed_empty')) AS open,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state = 'running') AS running,
       sum(rows_inserted + rows_updated)::bigint AS rows_written,
       max(coalesce(finished_at, started_at)) AS newest_at
FROM (SELECT * FROM ops.loads ORDER BY load_id DESC LIMIT %(loads)s) AS newest
GROUP BY target
ORDER BY newest_at DESC
