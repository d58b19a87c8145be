-- A current document with the same content, made by the same parser and settings. One whose file is
-- gone comes first: then the file was renamed, and nothing has to be copied.
SELECT
    d.document_id,
    d.path,
    d.source = %(source)s AND d.deleted_at IS NOT NULL AS is_gone
FROM documents.documents AS d
WHERE d.sha256 = %(sha256)s
  AND d.outcome = 'ok'
  AND d.is_current
  AND (d.source, d.path) <> (%(source)s, %(path)s)
  AND d.fingerprint = %(fingerprints)s::jsonb ->> d.media_type
  AND EXISTS (SELECT FROM documents.texts AS t WHERE t.document_id = d.document_id)
ORDER BY is_gone DESC, d.document_id
LIMIT 1
