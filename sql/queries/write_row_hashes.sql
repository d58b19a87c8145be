-- What the rows of windows said when they were published, for tables whose rows tell who wrote them.
-- Where no versions are given, this transaction has written all rows of the window.
INSERT INTO ops.row_hashes AS known (target, scope, window_key, content_hash, contract_version, algorithm,
                            system_identifier, written_by, row_versions, hashes)
SELECT %(target)s, %(scope)s, g.window_key, g.content_hash, %(contract_version)s, %(algorithm)s,
       c.system_identifier,
       pg_current_xact_id()::text::bigint,
       coalesce(g.row_versions, pg_current_xact_id()::xid::text || ':' || g.row_count),
       g.hashes
FROM unnest(%(window_keys)s::text[], %(content_hashes)s::text[], %(row_versions)s::text[],
            %(row_counts)s::bigint[], %(hashes)b::bytea[])
     AS g (window_key, content_hash, row_versions, row_count, hashes)
CROSS JOIN pg_control_system() AS c
WHERE ops.tells_row_versions(to_regclass(%(table)s))
ORDER BY g.window_key
ON CONFLICT (target, scope, window_key) DO UPDATE
SET content_hash = excluded.content_hash,
    contract_version = excluded.contract_version,
    algorithm = excluded.algorithm,
    system_identifier = excluded.system_identifier,
    written_by = excluded.written_by,
    row_versions = excluded.row_versions,
    hashes = excluded.hashes,
    added = '',
    dropped = ''
WHERE (known.content_hash, known.contract_version, known.algorithm, known.system_identifier,
       known.row_versions, known.hashes, known.added, known.dropped)
      IS DISTINCT FROM
      (excluded.content_hash, excluded.contract_version, excluded.algorithm,
       excluded.system_identifier, excluded.row_versions, excluded.hashes, excluded.added, excluded.dropped)
