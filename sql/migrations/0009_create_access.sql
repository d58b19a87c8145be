-- Who may use the HTTP API, and what was changed by whom.
CREATE TABLE ops.api_tokens (
    token_id        bigint      GENERATED ALWAYS AS IDENTITY,
    name            text        NOT NULL,
    scope           text        NOT NULL,
    secret_sha256   bytea       NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at      timestamptz,
    revoked_at      timestamptz,
    CONSTRAINT api_tokens_pkey PRIMARY KEY (token_id),
    CONSTRAINT api_tokens_scope_is_known CHECK (scope IN ('read', 'launch', 'admin')),
    CONSTRAINT api_tokens_hash_is_sha256 CHECK (octet_length(secret_sha256) = 32)
);
-- Two tokens in use have different names, so that the audit names one of them.
CREATE UNIQUE INDEX api_tokens_name_in_use ON ops.api_tokens (name) WHERE revoked_at IS NULL;
COMMENT ON TABLE ops.api_tokens IS 'Bearer tokens of the HTTP API; the secret itself is not kept.';
COMMENT ON COLUMN ops.api_tokens.scope IS 'read: look; launch: also start, stop and upload; admin: also manage.';
COMMENT ON COLUMN ops.api_tokens.secret_sha256 IS 'SHA-256 of 32 random bytes, which no dictionary holds: salt would add nothing.';

CREATE TABLE ops.audit (
    audit_id        bigint      GENERATED ALWAYS AS IDENTITY,
    happened_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor           text        NOT NULL,
    action          text        NOT NULL,
    subject         text        NOT NULL,
    detail          jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT audit_pkey PRIMARY KEY (audit_id)
);
CREATE INDEX audit_by_time ON ops.audit (happened_at);
COMMENT ON TABLE ops.audit IS 'One row for each change that a person or a program asked for.';
COMMENT ON COLUMN ops.audit.actor IS 'Name of the token, or user@host of a command.';
COMMENT ON COLUMN ops.audit.action IS 'What was done (documents.upload).';
COMMENT ON COLUMN ops.audit.subject IS 'To what (source and batch).';
