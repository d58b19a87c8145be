-- Vectors whose piece of text is still what was embedded; its load changes with its text. The lock
-- lets nobody replace it before the row is there, which then goes with it.
INSERT INTO documents.embeddings (document_id, ordinal, model, embedding, reason)
SELECT s.document_id, s.ordinal, %(model)s, s.embedding, s.reason
FROM staged_embeddings AS s
JOIN documents.chunks AS c USING (document_id, ordinal, load_id)
FOR KEY SHARE OF c
ON CONFLICT DO NOTHING;
