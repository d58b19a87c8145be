-- Documents: what was seen in the landing folders, each version of each file, its text in pieces.
CREATE SCHEMA documents;
COMMENT ON SCHEMA documents IS 'Files of the landing folders, their versions, their text and how to search it.';

-- PostgreSQL takes a run of Han characters for one word. Here each such run becomes its pairs of
-- neighbours and its last character: 机器学习 -> 机器 器学 学习 习. A word of two or more is then a phrase
-- of pairs, a single character the beginning of a pair, and neighbours that do not touch make no
-- pair. The same is done for kana, hangul, Thai, Lao, Khmer and Burmese, which write without
-- spaces or join endings to words. Everything that is no letter or digit separates words, in any
-- locale. Doubling each character, dropping the first and cutting after every second one gives the
-- pairs in three passes: 0.7 ms for 1,200 Han characters, 0.04 ms for English. A pass in Python
-- costs 0.15 ms, and would need the text copied twice.
CREATE FUNCTION documents.search_terms(content text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
    SELECT
        CASE
            WHEN t.plain ~ '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]'
                THEN regexp_replace(
                    regexp_replace(
                        regexp_replace(
                            t.plain,
                            '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff])',
                            '\1\1', 'g'),
                        '(^|[^\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff])[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]',
                        '\1 ', 'g'),
                    '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]{1,2})',
                    '\1 ', 'g')
            ELSE t.plain
        END
    FROM (
        SELECT
            regexp_replace(
                -- Soft hyphens and characters without width stand inside of words.
                translate(normalize(content, NFKC), U&'\00AD\200B\200C\200D\2060\FEFF', ''),
                '[\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u2190-\u2bff\u3000-\u3004\u3008-\u303f\ufe30-\ufe6f\uff00-\uff0f]+',
                ' ', 'g') AS plain
    ) AS t
$function$;
COMMENT ON FUNCTION documents.search_terms(text) IS 'Text as words for the index: pairs of characters where a script has no spaces, spaces for punctuation.';

CREATE FUNCTION documents.search_vector(content text) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
    SELECT to_tsvector('pg_catalog.english'::regconfig, documents.search_terms(content))
$function$;
COMMENT ON FUNCTION documents.search_vector(text) IS 'What the index of documents.chunks holds for a text: English words by their stem, others as they are.';

-- The seen-set: what a scan of a source found, and what became of it.
CREATE TABLE documents.files (
    source             text COLLATE "C" NOT NULL,
    path               text COLLATE "C" NOT NULL,
    arrival_day        date        NOT NULL,
    size_bytes         bigint      NOT NULL,
    modified_ns        bigint      NOT NULL,
    state              text COLLATE "C" NOT NULL,
    outcome            text COLLATE "C",
    reason             text,
    sha256             text COLLATE "C",
    document_id        bigint,
    attempts           integer     NOT NULL DEFAULT 0,
    claimed_by         bigint,
    load_id            bigint,
    first_seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    looked_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at        timestamptz,
    CONSTRAINT files_pkey PRIMARY KEY (source, path),
    CONSTRAINT files_state_is_known CHECK (state IN ('growing', 'waiting', 'done', 'failed', 'deleted')),
    CONSTRAINT files_that_end_have_an_outcome CHECK (state NOT IN ('done', 'failed') OR outcome IS NOT NULL),
    CONSTRAINT files_done_are_ok CHECK ((state = 'done') = (outcome IS NOT DISTINCT FROM 'ok' AND state <> 'deleted'))
);
CREATE INDEX files_by_day ON documents.files (source, arrival_day, path);
CREATE INDEX files_unfinished ON documents.files (source, arrival_day) WHERE state IN ('growing', 'waiting');
CREATE INDEX files_claimed ON documents.files (claimed_by, path) WHERE claimed_by IS NOT NULL;
CREATE INDEX files_by_document ON documents.files (document_id) WHERE document_id IS NOT NULL;
COMMENT ON TABLE documents.files IS 'One row per path ever seen in a landing folder, and the one state it is in.';
COMMENT ON COLUMN documents.files.path IS 'Relative to the source, with / between its parts.';
COMMENT ON COLUMN documents.files.state IS 'growing (still written), waiting (to be read), done, failed (outcome says how) or deleted (no longer in the folder).';
COMMENT ON COLUMN documents.files.outcome IS 'How reading it ended; null before. For a file that waits with an outcome, nothing has to be read.';
COMMENT ON COLUMN documents.files.sha256 IS 'Of the content that was read last.';
COMMENT ON COLUMN documents.files.claimed_by IS 'Load that is to deal with it; a load that died is followed by the next.';
COMMENT ON COLUMN documents.files.looked_at IS 'First look that found this size and time of change.';

CREATE SEQUENCE documents.document_ids;
CREATE TABLE documents.documents (
    document_id        bigint      NOT NULL,
    source             text COLLATE "C" NOT NULL,
    path               text COLLATE "C" NOT NULL,
    version            integer     NOT NULL,
    is_current         boolean     NOT NULL DEFAULT true,
    deleted_at         timestamptz,
    arrival_day        date        NOT NULL,
    sha256             text COLLATE "C",
    size_bytes         bigint      NOT NULL,
    modified_at        timestamptz,
    outcome            text COLLATE "C" NOT NULL,
    reason             text        NOT NULL DEFAULT '',
    media_type         text COLLATE "C",
    title              text,
    author             text,
    created_at         timestamptz,
    changed_at         timestamptz,
    language           text COLLATE "C",
    segment_kind       text COLLATE "C",
    segment_count      integer     NOT NULL DEFAULT 0,
    character_count    bigint      NOT NULL DEFAULT 0,
    chunk_count        integer     NOT NULL DEFAULT 0,
    notes              text        NOT NULL DEFAULT '',
    removed_characters integer     NOT NULL DEFAULT 0,
    parser             text COLLATE "C",
    parser_version     text COLLATE "C",
    fingerprint        text COLLATE "C",
    parse_seconds      double precision,
    peak_memory_bytes  bigint,
    load_id            bigint      NOT NULL,
    ingested_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT documents_pkey PRIMARY KEY (document_id),
    CONSTRAINT documents_version_is_unique UNIQUE (source, path, version),
    CONSTRAINT documents_without_text_have_no_chunks CHECK (outcome = 'ok' OR chunk_count = 0)
);
CREATE UNIQUE INDEX documents_current_is_unique ON documents.documents (source, path) WHERE is_current;
CREATE INDEX documents_by_day ON documents.documents (source, arrival_day);
CREATE INDEX documents_by_content ON documents.documents (sha256);
COMMENT ON TABLE documents.documents IS 'One row per version of a file, with where it came from and how reading it ended.';
COMMENT ON COLUMN documents.documents.is_current IS 'The newest version at this path; older ones keep their row and lose their text.';
COMMENT ON COLUMN documents.documents.deleted_at IS 'When a scan no longer found the file; its text is not searched any more.';
COMMENT ON COLUMN documents.documents.sha256 IS 'Null for a file that is too large to be read.';
COMMENT ON COLUMN documents.documents.modified_at IS 'Of the file; created_at and changed_at are what the document says of itself.';
COMMENT ON COLUMN documents.documents.segment_count IS 'Pages, slides, sheets, sections or messages, by segment_kind.';
COMMENT ON COLUMN documents.documents.notes IS 'What of the file could not be read although the rest was, one sentence a line.';
COMMENT ON COLUMN documents.documents.removed_characters IS 'Characters that are no text (NUL, lone surrogates, other controls) and were left out.';
COMMENT ON COLUMN documents.documents.fingerprint IS 'Of parser, its version and the chunk settings: another one means reading again gives another result.';

CREATE TABLE documents.texts (
    document_id        bigint      NOT NULL,
    text               text        NOT NULL,
    load_id            bigint      NOT NULL,
    CONSTRAINT texts_pkey PRIMARY KEY (document_id),
    CONSTRAINT texts_document_fkey FOREIGN KEY (document_id) REFERENCES documents.documents ON DELETE CASCADE
);
COMMENT ON TABLE documents.texts IS 'The whole text of a document, as one string; offsets of its chunks count its characters.';

CREATE TABLE documents.chunks (
    document_id        bigint      NOT NULL,
    ordinal            integer     NOT NULL,
    segment_kind       text COLLATE "C" NOT NULL,
    segment_from       integer     NOT NULL,
    segment_to         integer     NOT NULL,
    start_offset       integer     NOT NULL,
    end_offset         integer     NOT NULL,
    text               text        NOT NULL,
    load_id            bigint      NOT NULL,
    search_vector      tsvector    GENERATED ALWAYS AS (documents.search_vector(text)) STORED,
    CONSTRAINT chunks_pkey PRIMARY KEY (document_id, ordinal),
    CONSTRAINT chunks_document_fkey FOREIGN KEY (document_id) REFERENCES documents.documents ON DELETE CASCADE,
    CONSTRAINT chunks_are_as_long_as_their_offsets_say CHECK (end_offset - start_offset = length(text)),
    CONSTRAINT chunks_segments_are_in_order CHECK (segment_from <= segment_to)
);
CREATE INDEX chunks_by_words ON documents.chunks USING gin (search_vector);
COMMENT ON TABLE documents.chunks IS 'Pieces of the text of current documents, with the pages they are from.';
COMMENT ON COLUMN documents.chunks.segment_from IS 'First page, slide, sheet or section the piece touches, from 1.';
COMMENT ON COLUMN documents.chunks.start_offset IS 'Characters before it in documents.texts.text: substr(text, start_offset + 1, end_offset - start_offset) is the piece.';

-- lz4 is quicker than pglz, and not in every build of the server.
DO $block$
BEGIN
    IF (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
        ALTER TABLE documents.texts ALTER COLUMN text SET COMPRESSION lz4;
        ALTER TABLE documents.chunks ALTER COLUMN text SET COMPRESSION lz4;
    END IF;
END
$block$;
