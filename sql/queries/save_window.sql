INSERT INTO ops.windows AS known (target, scope, window_key, starts_at, ends_at, row_count,
                                  source_hash, content_hash, contract_version, load_id)
VALUES (%(target)s, %(scope)s, %(window_key)s, %(starts_at)s, %(ends_at)s, %(row_count)s,
        %(source_hash)s, %(content_hash)s, %(contract_version)s, %(load_id)s)
ON CONFLICT (target, scope, window_key) DO UPDATE
SET version = known.version + 1,
    published_version = known.version + 1,
    row_count = excluded.row_count,
    source_hash = excluded.source_hash,
    content_hash = excluded.content_hash,
    contract_version = excluded.contract_version,
    load_id = excluded.load_id,
    published_at = clock_timestamp()
