-- The window as its last publish left it, locked, with the ledger of the load that did.
SELECT k.load_id,
       k.row_count,
       l.rows_read,
       l.rows_inserted + l.rows_updated + l.rows_unchanged AS rows_stored,
       l.rows_duplicate,
       l.rows_rejected,
       l.rows_skipped,
       l.source_file,
       l.source_hash,
       l.state,
       coalesce(l.reason, '') AS reason
FROM ops.windows AS k
JOIN ops.loads AS l ON l.load_id = k.load_id
WHERE k.target = %(target)s
  AND k.scope = %(scope)s
  AND k.window_key = %(window_key)s
FOR UPDATE OF k
