-- What the files of some loads' days are now. Files seen as they are after a load began are the
-- next load's; those that were there must have ended, but for what the load says it left.
WITH judged AS (
    SELECT
        load_id,
        window_key::date AS day,
        started_at,
        rows_skipped,
        rows_read <> rows_inserted + rows_updated + rows_unchanged + rows_duplicate + rows_rejected
                     + rows_skipped AS is_unbalanced
    FROM ops.loads
    WHERE load_id = ANY (%(load_ids)s)
)
SELECT
    (SELECT count(*) FROM judged WHERE is_unbalanced) AS unbalanced_loads,
    (SELECT coalesce(sum(rows_skipped), 0) FROM judged)::bigint AS left_files,
    count(*) AS files,
    count(*) FILTER (WHERE f.state = 'done') AS done_files,
    count(*) FILTER (WHERE f.state = 'failed') AS failed_files,
    count(*) FILTER (WHERE f.state IN ('growing', 'waiting') AND f.looked_at < j.started_at)
        AS unended_files,
    count(*) FILTER (WHERE f.claimed_by = j.load_id) AS claimed_files,
    count(*) FILTER (WHERE f.state = 'done' AND NOT EXISTS (
        SELECT FROM documents.documents AS d
        WHERE d.document_id = f.document_id AND d.is_current AND d.outcome = 'ok'
    )) AS files_without_document
FROM judged AS j
JOIN documents.files AS f
  ON f.source = %(source)s AND f.arrival_day = j.day AND f.state <> 'deleted'
