CREATE TEMPORARY TABLE document_listing (
    path text COLLATE "C" NOT NULL,
    folder_day date,
    size_bytes bigint NOT NULL,
    modified_ns bigint NOT NULL,
    refusal text
) ON COMMIT DROP
