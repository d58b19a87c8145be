-- Rows of the windows that their source no longer has; only for contracts that replace.
WITH removed AS (
    DELETE FROM {target} AS t
    USING unnest(%(load_ids)s::bigint[], %(starts)s::{window_type}[], %(ends)s::{window_type}[])
          AS w (load_id, starts, ends)
    WHERE {scope_match} AND {bounds_match} AND {window_match}
      AND NOT EXISTS (SELECT FROM {staging} AS s WHERE {key_match})
    RETURNING w.load_id
)
SELECT load_id, count(*) FROM removed GROUP BY load_id
