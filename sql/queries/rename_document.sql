-- A document whose file was renamed keeps its text and its number; the row of the old path forgets it.
WITH moved AS (
    UPDATE documents.documents
    SET path = %(path)s,
        version = %(version)s,
        modified_at = %(modified_at)s,
        deleted_at = NULL
    WHERE document_id = %(twin_id)s
      AND source = %(source)s
      AND path = %(old_path)s
      AND sha256 = %(sha256)s
      AND is_current
      AND deleted_at IS NOT NULL
    RETURNING chunk_count, segment_count
),
forgotten AS (
    UPDATE documents.files
    SET document_id = NULL
    WHERE source = %(source)s AND path = %(old_path)s AND EXISTS (SELECT FROM moved)
)
SELECT chunk_count, segment_count FROM moved
