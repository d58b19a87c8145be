-- A load that is still running while its lease could be taken over has lost its process.
WITH abandoned AS (
    UPDATE ops.loads
    SET state = 'failed',
        reason = 'holder_died',
        finished_at = clock_timestamp(),
        is_retryable = true,
        error_class = 'LeaseLost',
        error_message = 'the process that was loading this window ended without a word; '
                        'the window was loaded again by a later run'
    WHERE resource = ANY (%(resources)s) AND state = 'running'
)
INSERT INTO ops.loads (target, scope, window_key, resource, source_file, source_hash,
                       contract_version, lease_token, run_id)
SELECT %(target)s, %(scope)s, w.window_key, w.resource, w.source_file, w.source_hash,
       %(contract_version)s, w.lease_token, %(run_id)s
FROM unnest(%(window_keys)s::text[], %(resources)s::text[], %(source_files)s::text[],
            %(source_hashes)s::text[], %(lease_tokens)s::bigint[])
     AS w (window_key, resource, source_file, source_hash, lease_token)
RETURNING window_key, load_id
