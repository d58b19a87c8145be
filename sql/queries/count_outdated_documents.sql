-- The same documents as claim_documents claims with `reprocess`.
SELECT f.arrival_day, count(*)
FROM documents.files AS f
JOIN documents.documents AS d ON d.document_id = f.document_id
WHERE f.source = %(source)s
  AND f.state = 'done'
  AND d.fingerprint IS DISTINCT FROM %(fingerprints)s::jsonb ->> d.media_type
GROUP BY f.arrival_day
ORDER BY f.arrival_day
