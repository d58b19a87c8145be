-- The same for windows in which little differs from what is written down: that stays as it is, and so
-- does the log. Content and contract are read together with it, so that only they decide.
UPDATE ops.row_hashes AS known
SET content_hash = g.content_hash,
    written_by = pg_current_xact_id()::text::bigint,
    row_versions = g.row_versions,
    added = g.added,
    dropped = g.dropped
FROM unnest(%(window_keys)s::text[], %(content_hashes)s::text[], %(row_versions)s::text[],
            %(added)b::bytea[], %(dropped)b::bytea[])
     AS g (window_key, content_hash, row_versions, added, dropped)
WHERE known.target = %(target)s
  AND known.scope = %(scope)s
  AND known.window_key = g.window_key
  AND known.window_key = ANY (%(window_keys)s)
  AND ops.tells_row_versions(to_regclass(%(table)s))
