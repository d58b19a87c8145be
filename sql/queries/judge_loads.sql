-- Loads whose rows do not add up, of those that are published.
SELECT count(*) FILTER (
           WHERE rows_read <> rows_inserted + rows_updated + rows_unchanged
                              + rows_duplicate + rows_rejected + rows_skipped
              OR rows_after <> rows_before + rows_inserted - rows_deleted) AS unbalanced,
       count(*) AS loads,
       coalesce(sum(rows_read), 0)::bigint AS rows_read,
       coalesce(sum(rows_rejected), 0)::bigint AS rows_rejected
FROM ops.loads
WHERE load_id = ANY (%(load_ids)s)
  AND state IN ('success', 'partial')
