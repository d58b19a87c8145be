-- Full-text search over documents.chunks, for people and programs alike:
--     SELECT path, segment_from, rank, text FROM documents.search('"net income" 营业收入 2024年', 10);
-- Every word has to be there; "..." is a phrase, -word excludes. English words are found by their
-- stem; characters that touch in the query have to touch in the text.
CREATE FUNCTION documents.search_query(query text) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    unspaced CONSTANT text := '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]';
    part text[];
    pieces text[];
    piece text;
    word text;
    words text[];
    lexeme tsquery;
    phrase tsquery;
    distance integer;
    result tsquery;
BEGIN
    FOR part IN SELECT regexp_matches(normalize(query, NFKC), '(-?)(?:"([^"]*)"?|([^\s"]+))', 'g') LOOP
        -- Punctuation between characters without spaces ends a sentence, not a word: both sides
        -- have to be there, and need not touch.
        pieces := CASE
            WHEN part[3] ~ unspaced THEN regexp_split_to_array(part[3], '[\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u3004\u3008-\u303f]+')
            ELSE ARRAY[coalesce(part[2], part[3])]
        END;
        FOREACH piece IN ARRAY pieces LOOP
            words := array_remove(regexp_split_to_array(documents.search_terms(piece), '\s+'), '');
            -- The last character of a run stands alone in the index; in the text the run may go on.
            IF cardinality(words) > 1 AND words[cardinality(words)] ~ ('^' || unspaced || '$')
                    AND words[cardinality(words) - 1] ~ ('^' || unspaced || '{2}$') THEN
                words := words[:cardinality(words) - 1];
            END IF;
            phrase := NULL;
            distance := 1;
            FOR place IN 1 .. cardinality(words) LOOP
                word := words[place];
                IF word ~ ('^' || unspaced || '$') AND place = cardinality(words) THEN
                    lexeme := (quote_literal(word) || ':*')::tsquery;
                ELSE
                    lexeme := plainto_tsquery('pg_catalog.english'::regconfig, word);
                END IF;
                IF numnode(lexeme) = 0 THEN
                    -- A stop word is not in the index, but holds its place in a phrase.
                    distance := distance + 1;
                ELSIF phrase IS NULL THEN
                    phrase := lexeme;
                    distance := 1;
                ELSE
                    phrase := tsquery_phrase(phrase, lexeme, distance);
                    distance := 1;
                END IF;
            END LOOP;
            IF phrase IS NOT NULL THEN
                IF part[1] = '-' THEN
                    phrase := !! phrase;
                END IF;
                result := CASE WHEN result IS NULL THEN phrase ELSE result && phrase END;
            END IF;
        END LOOP;
    END LOOP;
    RETURN result;
END
$function$;
COMMENT ON FUNCTION documents.search_query(text) IS 'What a person typed as a condition on documents.chunks.search_vector; null if no word is left to look for.';

CREATE FUNCTION documents.search(query text, max_hits integer DEFAULT 20, only_source text DEFAULT NULL)
RETURNS TABLE (
    document_id bigint,
    source text,
    path text,
    title text,
    ordinal integer,
    segment_kind text,
    segment_from integer,
    segment_to integer,
    start_offset integer,
    end_offset integer,
    rank real,
    text text
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $function$
    SELECT
        d.document_id,
        d.source,
        d.path,
        d.title,
        c.ordinal,
        c.segment_kind,
        c.segment_from,
        c.segment_to,
        c.start_offset,
        c.end_offset,
        -- 1: a long piece is not better for being long.
        ts_rank_cd(c.search_vector, documents.search_query(query), 1) AS rank,
        c.text
    FROM documents.chunks AS c
    JOIN documents.documents AS d ON d.document_id = c.document_id
    WHERE c.search_vector @@ documents.search_query(query)
      AND d.is_current
      AND d.deleted_at IS NULL
      AND (only_source IS NULL OR d.source = only_source)
    ORDER BY rank DESC, d.document_id, c.ordinal
    LIMIT max_hits
$function$;
COMMENT ON FUNCTION documents.search(text, integer, text) IS 'Pieces of current documents that have every word of the query, the best first.';
