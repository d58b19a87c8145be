-- What the ledger promised and the tables no longer show, in every domain; reads whole tables.
SELECT 'ledger' AS kind,
       'load ' || load_id || ' of ' || resource || ' read ' || rows_read
           || ' rows, expected the sum of its outcomes and of what was there; do not trust it: '
           || 'load the window again with --force' AS message
FROM ops.loads
WHERE (state IN ('success', 'partial')
       AND rows_read <> rows_inserted + rows_updated + rows_unchanged + rows_duplicate
                      + rows_rejected + rows_skipped)
   OR rows_after <> rows_before + rows_inserted - rows_deleted
UNION ALL
-- Windows say that rows were published, and the table is gone.
SELECT 'table',
       w.target || ' is not there, expected ' || sum(w.row_count) || ' rows of ' || count(*)
           || ' windows; restore the table, or load them again with --force'
FROM ops.windows AS w
WHERE w.row_count > 0
  -- Names are kept as they are, without quotes.
  AND w.target ~ '^[^.]+[.][^.]+$'
  AND to_regclass(format('%%I.%%I', split_part(w.target, '.', 1), split_part(w.target, '.', 2)))
      IS NULL
GROUP BY w.target
UNION ALL
SELECT 'lease',
       resource || ' is held by ' || holder || ' who was last heard of '
           || to_char(heartbeat_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC, expected '
           || 'a heartbeat; free it with `batch-assets verify --repair`'
FROM ops.leases
WHERE expires_at < clock_timestamp()
UNION ALL
SELECT 'document',
       d.path || ' of ' || d.source || ' has ' || coalesce(c.found, 0) || ' pieces, expected '
           || d.chunk_count || '; somebody changed documents.chunks: load its day again with --force'
FROM documents.documents AS d
LEFT JOIN (SELECT document_id, count(*) AS found FROM documents.chunks GROUP BY document_id) AS c
    USING (document_id)
WHERE d.is_current AND d.deleted_at IS NULL AND d.chunk_count <> coalesce(c.found, 0)
UNION ALL
SELECT 'device',
       count(*) || ' devices have a latest state without the record it was taken from, first '
           || min(l.device_sn) || '; expected each record in devices.records; somebody deleted '
           || 'from it: load its files again with --force'
FROM devices.latest AS l
WHERE NOT EXISTS (SELECT
                  FROM devices.records AS r
                  WHERE r.device_sn = l.device_sn AND r.measured_at = l.measured_at)
HAVING count(*) > 0
ORDER BY kind, message
