-- Batches of files that came in over HTTP, and what became of each: how far a batch is follows from
-- the states of its files, which scans and loads write anyway.
CREATE TABLE documents.uploads (
    batch_id           uuid        NOT NULL,
    source             text COLLATE "C" NOT NULL,
    actor              text        NOT NULL,
    received_at        timestamptz NOT NULL,
    total_docs         integer     NOT NULL,
    CONSTRAINT uploads_pkey PRIMARY KEY (batch_id),
    CONSTRAINT uploads_are_not_empty CHECK (total_docs > 0)
);
COMMENT ON TABLE documents.uploads IS 'One row per batch of files that was uploaded.';
COMMENT ON COLUMN documents.uploads.received_at IS 'When its files were moved into the landing folder.';

CREATE TABLE documents.upload_files (
    batch_id           uuid        NOT NULL,
    number             integer     NOT NULL,
    source             text COLLATE "C" NOT NULL,
    name               text        NOT NULL,
    path               text COLLATE "C",
    refused_outcome    text COLLATE "C",
    refused_reason     text,
    sha256             text COLLATE "C",
    size_bytes         bigint      NOT NULL,
    modified_ns        bigint      NOT NULL,
    CONSTRAINT upload_files_pkey PRIMARY KEY (batch_id, number),
    CONSTRAINT upload_files_batch_fkey FOREIGN KEY (batch_id) REFERENCES documents.uploads ON DELETE CASCADE,
    CONSTRAINT upload_files_are_somewhere_or_refused CHECK ((path IS NULL) = (refused_outcome IS NOT NULL))
);
CREATE INDEX upload_files_by_path ON documents.upload_files (source, path) WHERE path IS NOT NULL;
COMMENT ON TABLE documents.upload_files IS 'One row per file of an upload, refused ones included.';
COMMENT ON COLUMN documents.upload_files.name IS 'As the client called it; path is where it was put.';

CREATE VIEW documents.upload_states AS
SELECT
    u.batch_id,
    u.number,
    u.source,
    u.name,
    u.path,
    u.sha256,
    -- Each file has one end. The state of its path counts while the path holds these bytes; else
    -- the version of the document that was made of them; else it was replaced before it was read.
    CASE
        WHEN u.refused_outcome IS NOT NULL THEN u.refused_outcome
        WHEN is_here.yes AND f.state IN ('done', 'failed') THEN f.outcome
        WHEN d.outcome IS NOT NULL THEN d.outcome
        WHEN is_here.yes AND f.state = 'deleted' THEN coalesce(f.outcome, 'vanished')
        WHEN is_replaced.yes THEN 'replaced'
    END AS outcome,
    CASE
        WHEN u.refused_outcome IS NOT NULL THEN u.refused_reason
        WHEN is_here.yes AND f.state IN ('done', 'failed') THEN f.reason
        WHEN d.outcome IS NOT NULL THEN d.reason
        WHEN is_here.yes AND f.state = 'deleted' THEN 'it was deleted before it was read; expected it to stay; upload it again if it is wanted'
        WHEN is_replaced.yes THEN 'another file of that name took its place before it was read; expected one file of a name at a time; upload it again under another name if it is wanted'
    END AS reason,
    CASE
        WHEN u.refused_outcome IS NOT NULL THEN b.received_at
        WHEN is_here.yes AND f.state IN ('done', 'failed') THEN f.finished_at
        ELSE coalesce(d.ingested_at, f.looked_at)
    END AS finished_at,
    f.path IS NOT NULL AS is_seen
FROM documents.upload_files AS u
JOIN documents.uploads AS b USING (batch_id)
LEFT JOIN documents.files AS f ON f.source = u.source AND f.path = u.path
LEFT JOIN LATERAL (
    SELECT v.outcome, v.reason, v.ingested_at
    FROM documents.documents AS v
    WHERE v.source = u.source
      AND v.path = u.path
      AND v.sha256 = u.sha256
      AND (v.is_current OR v.ingested_at >= b.received_at)
    ORDER BY v.version DESC
    LIMIT 1
) AS d ON true
CROSS JOIN LATERAL (
    SELECT coalesce(
        (f.size_bytes = u.size_bytes AND f.modified_ns = u.modified_ns) OR f.sha256 = u.sha256,
        false) AS yes
) AS is_here
CROSS JOIN LATERAL (
    SELECT NOT is_here.yes AND (f.looked_at > b.received_at OR EXISTS (
        SELECT
        FROM documents.upload_files AS o
        JOIN documents.uploads AS ob ON ob.batch_id = o.batch_id
        WHERE o.source = u.source
          AND o.path = u.path
          AND o.sha256 <> u.sha256
          AND ob.received_at > b.received_at
    )) AS yes
) AS is_replaced;
COMMENT ON VIEW documents.upload_states IS 'One row per file of an upload with the outcome it came to; null while it waits.';
