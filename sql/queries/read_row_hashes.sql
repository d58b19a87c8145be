-- Hashes of the rows that the last publish of a window brought, where nothing says otherwise: no other
-- content, contract, writer or server since, and fewer than 2^31 transactions, after which a number
-- could mean another one.
SELECT h.window_key, h.row_versions, h.hashes, h.added, h.dropped
FROM ops.row_hashes AS h
JOIN ops.windows AS k USING (target, scope, window_key)
WHERE h.target = %(target)s
  AND h.scope = %(scope)s
  AND h.window_key = ANY (%(window_keys)s)
  AND h.content_hash = k.content_hash
  AND k.version = k.published_version
  AND h.contract_version = k.contract_version
  AND h.contract_version = %(contract_version)s
  AND h.algorithm = %(algorithm)s
  AND h.system_identifier = (SELECT c.system_identifier FROM pg_control_system() AS c)
  AND pg_snapshot_xmax(pg_current_snapshot())::text::bigint - h.written_by BETWEEN 0 AND 2147483647
