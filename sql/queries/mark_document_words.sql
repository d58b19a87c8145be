-- Which words of the pieces found meet a word of the query: the index compares stems, and only the
-- server knows them. Excluded words are in the query too, but not in the pieces.
SELECT w.word
FROM unnest(%(words)s::text[]) AS w (word)
WHERE tsvector_to_array(documents.search_vector(w.word)) && %(lexemes)s::text[]
