-- The end of loads that are published: ledger, memory of their windows and dead letters they no
-- longer met, in one trip to the server. Nothing is written where a load is no longer running.
WITH given AS (
    SELECT *
    FROM jsonb_to_recordset(%(closings)s) AS c (
        load_id bigint, window_key text, starts_at timestamptz, ends_at timestamptz, state text,
        reason text, recognised_by text, publish_path text, read bigint, inserted bigint,
        updated bigint, unchanged bigint, duplicate bigint, rejected bigint, skipped bigint,
        deleted bigint, rows_before bigint, rows_after bigint, source_hash text,
        content_hash text, metrics jsonb)
),
closed AS (
    UPDATE ops.loads AS l
    SET state = given.state,
        reason = given.reason,
        recognised_by = given.recognised_by,
        publish_path = given.publish_path,
        rows_read = given.read,
        rows_inserted = given.inserted,
        rows_updated = given.updated,
        rows_unchanged = given.unchanged,
        rows_duplicate = given.duplicate,
        rows_rejected = given.rejected,
        rows_skipped = given.skipped,
        rows_deleted = given.deleted,
        rows_before = given.rows_before,
        rows_after = given.rows_after,
        content_hash = given.content_hash,
        finished_at = clock_timestamp(),
        known_at = now(),
        metrics = given.metrics
    FROM given
    WHERE l.load_id = given.load_id
      -- Says the same once more: where loops are forbidden, all loads would be read otherwise.
      AND l.load_id = ANY (%(load_ids)s)
      AND l.state = 'running'
    RETURNING l.load_id
),
superseded AS (
    UPDATE ops.dead_letters AS d
    SET state = 'superseded',
        resolved_at = clock_timestamp()
    FROM given
    JOIN closed ON closed.load_id = given.load_id
    WHERE d.target = %(target)s
      AND d.scope = %(scope)s
      AND d.window_key = given.window_key
      AND d.window_key = ANY (%(window_keys)s)
      AND d.state = 'open'
      AND d.load_id <> given.load_id
      -- What only a part of the window was read for may still be wrong.
      AND NOT %(is_part)s
      AND coalesce(given.reason, '') <> 'failed_symbols'
)
INSERT INTO ops.windows AS known (target, scope, window_key, starts_at, ends_at, row_count,
                                  source_hash, content_hash, contract_version, load_id)
SELECT %(target)s, %(scope)s, given.window_key, given.starts_at, given.ends_at,
       given.rows_after, given.source_hash, given.content_hash, %(contract_version)s,
       given.load_id
FROM given
JOIN closed ON closed.load_id = given.load_id
ORDER BY given.window_key
ON CONFLICT (target, scope, window_key) DO UPDATE
SET version = known.version + 1,
    published_version = known.version + 1,
    row_count = excluded.row_count,
    source_hash = excluded.source_hash,
    content_hash = excluded.content_hash,
    contract_version = excluded.contract_version,
    load_id = excluded.load_id,
    published_at = clock_timestamp()
RETURNING load_id
