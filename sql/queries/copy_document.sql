-- A document from one with the same content: both exist, the content was parsed once.
WITH twin AS (
    SELECT d.*
    FROM documents.documents AS d
    WHERE d.document_id = %(twin_id)s AND d.outcome = 'ok' AND d.sha256 = %(sha256)s
      AND EXISTS (SELECT FROM documents.texts AS t WHERE t.document_id = d.document_id)
),
document AS (
    INSERT INTO documents.documents (
        document_id, source, path, version, arrival_day, sha256, size_bytes, modified_at, outcome,
        media_type, title, author, created_at, changed_at, language, segment_kind, segment_count,
        character_count, chunk_count, notes, removed_characters, parser, parser_version, fingerprint,
        load_id)
    SELECT
        %(document_id)s, %(source)s, %(path)s, %(version)s, %(arrival_day)s, sha256, size_bytes,
        %(modified_at)s, outcome, media_type, title, author, created_at, changed_at, language,
        segment_kind, segment_count, character_count, chunk_count, notes, removed_characters, parser,
        parser_version, fingerprint, %(load_id)s
    FROM twin
),
content AS (
    INSERT INTO documents.texts (document_id, text, load_id)
    SELECT %(document_id)s, t.text, %(load_id)s
    FROM documents.texts AS t
    JOIN twin ON twin.document_id = t.document_id
),
pieces AS (
    INSERT INTO documents.chunks (document_id, ordinal, segment_kind, segment_from, segment_to,
                                  start_offset, end_offset, text, load_id)
    SELECT %(document_id)s, c.ordinal, c.segment_kind, c.segment_from, c.segment_to, c.start_offset,
           c.end_offset, c.text, %(load_id)s
    FROM documents.chunks AS c
    JOIN twin ON twin.document_id = c.document_id
)
SELECT chunk_count, segment_count FROM twin
