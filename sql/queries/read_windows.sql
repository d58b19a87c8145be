-- What is known of windows, with the ledger of the load that published them.
SELECT k.window_key,
       k.row_count,
       k.source_hash,
       k.content_hash,
       k.contract_version,
       k.version = k.published_version AS is_current,
       l.state,
       l.reason,
       l.rows_inserted + l.rows_updated + l.rows_unchanged AS rows_stored,
       l.rows_duplicate,
       l.rows_rejected,
       l.rows_skipped
FROM ops.windows AS k
JOIN ops.loads AS l ON l.load_id = k.load_id
WHERE k.target = %(target)s
  AND k.scope = %(scope)s
  AND k.window_key = ANY (%(window_keys)s)
