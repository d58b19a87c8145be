-- The next pieces of current documents of a source that this model has not seen, in order.
SELECT c.document_id, c.ordinal, c.load_id, c.text
FROM documents.chunks AS c
JOIN documents.documents AS d USING (document_id)
WHERE
    d.source = %(source)s
    AND d.is_current
    AND d.deleted_at IS NULL
    AND (c.document_id, c.ordinal) > (%(after_document_id)s, %(after_ordinal)s)
    AND NOT EXISTS (
        SELECT FROM documents.embeddings AS e
        WHERE e.document_id = c.document_id AND e.ordinal = c.ordinal AND e.model = %(model)s)
ORDER BY c.document_id, c.ordinal
LIMIT %(limit)s;
