-- Loads whose rows do not add up, or that left another number of rows than their counts say.
SELECT count(*) FILTER (
           WHERE rows_read <> rows_inserted + rows_updated + rows_unchanged
                            + rows_duplicate + rows_rejected + rows_skipped
              OR rows_after <> rows_before + rows_inserted - rows_deleted),
       count(*),
       coalesce(sum(rows_read), 0)::bigint
FROM ops.loads
WHERE load_id = ANY (%(load_ids)s) AND state IN ('success', 'partial', 'skipped')
