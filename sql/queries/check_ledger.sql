-- Loads whose rows do not add up, and windows that no longer hold the rows their load left.
SELECT count(*) FILTER (
           WHERE l.rows_read <> l.rows_inserted + l.rows_updated + l.rows_unchanged
                              + l.rows_duplicate + l.rows_rejected + l.rows_skipped),
       count(*) FILTER (
           WHERE l.rows_after IS NOT NULL
             AND l.rows_after <> l.rows_before + l.rows_inserted - l.rows_deleted),
       count(*),
       coalesce(sum(l.rows_read), 0)::bigint
FROM ops.loads AS l
WHERE l.load_id = ANY (%(load_ids)s) AND l.state = 'success'
