-- Rows of each window by the transaction that wrote them. An update by anybody is a new version with
-- another xmin, so that equal answers at two times mean that nothing was written in between.
SELECT w.window_key, v.xid, v.row_count
FROM unnest(%(window_keys)s::text[], %(starts)s::{window_type}[], %(ends)s::{window_type}[])
     AS w (window_key, starts, ends)
CROSS JOIN LATERAL (
    SELECT t.xmin::text AS xid, count(*) AS row_count
    FROM {target} AS t
    WHERE {scope_match} AND {window_match} AND {bounds_match}
    GROUP BY t.xmin
) AS v
