SELECT max(chunk_no),
       sum(staged_rows)::bigint,
       sum(rows_read)::bigint,
       sum(rows_rejected)::bigint,
       sum(rows_skipped)::bigint,
       (array_agg(position ORDER BY chunk_no DESC))[1],
       jsonb_agg(broken_rules)
FROM ops.checkpoints
WHERE resource = %(resource)s
  AND source_hash = %(source_hash)s
  AND contract_version = %(contract_version)s
HAVING count(*) > 0
