-- The next files of a load, in the order of their paths, with what is known of their content.
SELECT
    f.path,
    f.arrival_day,
    f.size_bytes,
    f.modified_ns,
    f.state,
    f.outcome,
    coalesce(f.reason, '') AS reason,
    d.sha256 AS known_sha256,
    d.outcome AS known_outcome,
    d.media_type AS known_media_type,
    d.fingerprint AS known_fingerprint,
    d.deleted_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM documents.texts AS t WHERE t.document_id = d.document_id) AS is_without_text
FROM documents.files AS f
LEFT JOIN documents.documents AS d ON d.document_id = f.document_id AND d.is_current
WHERE f.claimed_by = %(load_id)s
  AND f.path > %(after)s
ORDER BY f.path
LIMIT %(limit)s
