-- Rows that their source no longer has, before they are deleted.
INSERT INTO {history} ({kept_columns}, known_from, known_to, superseded_by)
SELECT {stored_columns},
       coalesce((SELECT l.known_at FROM ops.loads AS l WHERE l.load_id = t.load_id), '-infinity'),
       now(),
       w.load_id
FROM unnest(%(load_ids)s::bigint[], %(starts)s::{window_type}[], %(ends)s::{window_type}[])
     AS w (load_id, starts, ends)
JOIN {target} AS t ON {scope_match} AND {bounds_match} AND {window_match}
WHERE NOT EXISTS (SELECT FROM {staging} AS s WHERE {key_match})
FOR UPDATE OF t
