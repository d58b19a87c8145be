-- Windows that ended without a publish: nothing to read, or everything recognised.
INSERT INTO ops.loads (target, scope, window_key, resource, state, reason, recognised_by,
                       publish_path, rows_read, rows_unchanged, rows_duplicate, rows_rejected,
                       rows_skipped, source_file, source_hash, content_hash, contract_version,
                       run_id, error_class, error_message, is_retryable, finished_at)
SELECT %(target)s, %(scope)s, w.window_key, w.resource, w.state, w.reason, w.recognised_by,
       'none', w.rows_read, w.rows_unchanged, w.rows_duplicate, w.rows_rejected, w.rows_skipped,
       w.source_file, w.source_hash, w.content_hash, %(contract_version)s, %(run_id)s,
       w.error_class, w.error_message, w.is_retryable, clock_timestamp()
FROM unnest(%(window_keys)s::text[], %(resources)s::text[], %(states)s::text[],
            %(reasons)s::text[], %(recognised_bys)s::text[], %(reads)s::bigint[],
            %(unchangeds)s::bigint[], %(duplicates)s::bigint[], %(rejecteds)s::bigint[],
            %(skippeds)s::bigint[], %(source_files)s::text[], %(source_hashes)s::text[],
            %(content_hashes)s::text[], %(error_classes)s::text[], %(error_messages)s::text[],
            %(are_retryable)s::boolean[])
     AS w (window_key, resource, state, reason, recognised_by, rows_read, rows_unchanged,
           rows_duplicate, rows_rejected, rows_skipped, source_file, source_hash, content_hash,
           error_class, error_message, is_retryable)
RETURNING window_key, load_id
