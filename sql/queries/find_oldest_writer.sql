-- The oldest transaction that may still write in this database, by the snapshot of the asker. One of
-- another database cannot; every role sees the number and database of all transactions. One that
-- has ended since the snapshot counts. A standby does not list those of its primary: all count.
SELECT u.xid::xid::text AS xid,
       a.pid,
       coalesce(a.application_name, '') AS application,
       p.gid,
       coalesce(a.xact_start, p.prepared) AS since
FROM (
    SELECT pg_snapshot_xip(pg_current_snapshot()) AS xid
    UNION ALL
    SELECT pg_snapshot_xmin(pg_current_snapshot()) WHERE pg_is_in_recovery()
) AS u
LEFT JOIN pg_stat_activity AS a ON a.backend_xid = u.xid::xid
LEFT JOIN pg_prepared_xacts AS p ON p.transaction = u.xid::xid
WHERE (a.datname IS NULL OR a.datname = current_database())
  AND (p.database IS NULL OR p.database = current_database())
ORDER BY u.xid
LIMIT 1
