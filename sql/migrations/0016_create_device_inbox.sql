-- The inbox: what clients post waits here, committed, until its shard has written it.
CREATE TABLE devices.inbox (
    inbox_id           bigint      GENERATED ALWAYS AS IDENTITY,
    bucket             smallint    NOT NULL,
    body               text        NOT NULL,
    received_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT inbox_pkey PRIMARY KEY (inbox_id),
    CONSTRAINT inbox_bucket_is_known CHECK (bucket BETWEEN 0 AND 255)
);
CREATE INDEX inbox_by_bucket ON devices.inbox (bucket, inbox_id);
COMMENT ON TABLE devices.inbox IS 'Records that were accepted and not yet written; a row goes in the transaction that writes it.';
COMMENT ON COLUMN devices.inbox.body IS 'One JSON object as the client sent it; judged when it is written.';

-- A file that looks as it did is not hashed again.
ALTER TABLE devices.files ADD COLUMN modified_ns bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN devices.files.modified_ns IS 'Time of change when the content was hashed.';
