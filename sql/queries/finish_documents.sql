-- The state in which the files of a group end; where the file changed meanwhile, only the claim.
UPDATE documents.files AS f
SET claimed_by = NULL,
    state = CASE WHEN w.is_skipped THEN f.state WHEN w.outcome = 'ok' THEN 'done' ELSE 'failed' END,
    outcome = CASE WHEN w.is_skipped THEN f.outcome ELSE w.outcome END,
    reason = CASE WHEN w.is_skipped THEN f.reason ELSE nullif(w.reason, '') END,
    sha256 = CASE WHEN w.is_skipped THEN f.sha256 ELSE coalesce(w.sha256, f.sha256) END,
    document_id = coalesce(w.document_id, f.document_id),
    load_id = %(load_id)s,
    attempts = f.attempts + CASE WHEN w.is_skipped THEN 0 ELSE 1 END,
    finished_at = CASE WHEN w.is_skipped THEN f.finished_at ELSE clock_timestamp() END
FROM unnest(%(paths)s::text[], %(outcomes)s::text[], %(reasons)s::text[], %(sha256s)s::text[],
            %(document_ids)s::bigint[], %(are_skipped)s::boolean[])
     AS w (path, outcome, reason, sha256, document_id, is_skipped)
WHERE f.source = %(source)s AND f.path = w.path AND f.claimed_by = %(load_id)s
