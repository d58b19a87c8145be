-- Who is signed in to the status page: a token that was pasted once, and a cookie in its place.
CREATE TABLE ops.browser_sessions (
    secret_sha256   bytea       NOT NULL,
    token_id        bigint      NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at      timestamptz NOT NULL,
    CONSTRAINT browser_sessions_pkey PRIMARY KEY (secret_sha256),
    CONSTRAINT browser_sessions_token_fkey FOREIGN KEY (token_id) REFERENCES ops.api_tokens ON DELETE CASCADE,
    CONSTRAINT browser_sessions_hash_is_sha256 CHECK (octet_length(secret_sha256) = 32)
);
CREATE INDEX browser_sessions_by_end ON ops.browser_sessions (expires_at);
COMMENT ON TABLE ops.browser_sessions IS 'Browsers that are signed in; they end with their token at the latest.';
COMMENT ON COLUMN ops.browser_sessions.secret_sha256 IS 'SHA-256 of the 32 random bytes in the cookie.';

-- The status page lists the newest failures; most loads end well.
CREATE INDEX loads_failed ON ops.loads (load_id) WHERE state = 'failed';
