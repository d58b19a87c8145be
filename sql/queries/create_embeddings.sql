-- Vectors of pieces of text; made only where they are asked for, since not every server has pgvector.
-- The column takes any number of dimensions: those of another model may stay beside the present ones.
CREATE TABLE IF NOT EXISTS documents.embeddings (
    document_id bigint NOT NULL,
    ordinal integer NOT NULL,
    model text COLLATE "C" NOT NULL,
    embedding {vector},
    reason text NOT NULL DEFAULT '',
    embedded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (document_id, ordinal, model),
    CONSTRAINT embeddings_chunk_fkey FOREIGN KEY (document_id, ordinal)
        REFERENCES documents.chunks (document_id, ordinal) ON DELETE CASCADE,
    CONSTRAINT embeddings_without_vector_have_a_reason CHECK ((embedding IS NULL) = (reason <> ''))
);
