-- Rows that each window has in the target now.
SELECT w.window_key,
       (SELECT count(*)
        FROM {target} AS t
        WHERE {scope_match} AND {window_match} AND {bounds_match}) AS row_count
FROM unnest(%(window_keys)s::text[], %(starts)s::{window_type}[], %(ends)s::{window_type}[])
     AS w (window_key, starts, ends)
