SELECT
    document_id,
    source,
    path,
    title,
    ordinal,
    segment_kind,
    segment_from,
    segment_to,
    start_offset,
    end_offset,
    rank,
    text
FROM documents.search(%(query)s, %(limit)s, %(source)s)
