-- The end of a load that is published: ledger, memory of the window and dead letters it no longer
-- met, in one trip to the server. Nothing is written where the load is no longer running.
WITH closed AS (
    UPDATE ops.loads
    SET state = %(state)s,
        reason = %(reason)s,
        recognised_by = %(recognised_by)s,
        publish_path = %(publish_path)s,
        rows_read = %(read)s,
        rows_inserted = %(inserted)s,
        rows_updated = %(updated)s,
        rows_unchanged = %(unchanged)s,
        rows_duplicate = %(duplicate)s,
        rows_rejected = %(rejected)s,
        rows_skipped = %(skipped)s,
        rows_deleted = %(deleted)s,
        rows_before = %(rows_before)s,
        rows_after = %(rows_after)s,
        content_hash = %(content_hash)s,
        finished_at = clock_timestamp(),
        known_at = now(),
        metrics = %(metrics)s
    WHERE load_id = %(load_id)s AND state = 'running'
    RETURNING load_id
),
superseded AS (
    UPDATE ops.dead_letters
    SET state = 'superseded',
        resolved_at = clock_timestamp()
    WHERE target = %(target)s
      AND scope = %(scope)s
      AND window_key = %(window_key)s
      AND state = 'open'
      AND load_id <> %(load_id)s
      -- What only a part of the window was read for may still be wrong.
      AND NOT %(is_part)s
      AND coalesce(%(reason)s::text, '') <> 'failed_symbols'
      AND EXISTS (SELECT FROM closed)
)
INSERT INTO ops.windows AS known (target, scope, window_key, starts_at, ends_at, row_count,
                                  source_hash, content_hash, contract_version, load_id)
SELECT %(target)s, %(scope)s, %(window_key)s, %(starts_at)s::timestamptz, %(ends_at)s::timestamptz,
       %(rows_after)s, %(source_hash)s::text, %(content_hash)s::text, %(contract_version)s,
       closed.load_id
FROM closed
ON CONFLICT (target, scope, window_key) DO UPDATE
SET version = known.version + 1,
    published_version = known.version + 1,
    row_count = excluded.row_count,
    source_hash = excluded.source_hash,
    content_hash = excluded.content_hash,
    contract_version = excluded.contract_version,
    load_id = excluded.load_id,
    published_at = clock_timestamp()
