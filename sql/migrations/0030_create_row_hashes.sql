-- What each row of a window said when it was last written, so that a load in which few rows differ
-- sends only those. A memory, not a record: emptying the table makes the next loads slower, no more.
CREATE TABLE ops.row_hashes (
    target text NOT NULL,
    scope text NOT NULL DEFAULT '',
    window_key text NOT NULL,
    content_hash text NOT NULL,
    contract_version text NOT NULL,
    algorithm smallint NOT NULL,
    -- Transaction numbers mean something on the server alone that gave them.
    system_identifier bigint NOT NULL,
    written_by bigint NOT NULL,
    row_versions text NOT NULL,
    hashes bytea NOT NULL,
    added bytea NOT NULL DEFAULT '',
    dropped bytea NOT NULL DEFAULT '',
    CONSTRAINT row_hashes_pkey PRIMARY KEY (target, scope, window_key)
);
-- Nothing in them repeats; trying to compress them costs time.
ALTER TABLE ops.row_hashes ALTER hashes SET STORAGE EXTERNAL;
COMMENT ON TABLE ops.row_hashes IS 'Hashes of the rows of a window as they were last written; may be emptied at any time.';
COMMENT ON COLUMN ops.row_hashes.written_by IS 'Transaction that published them, 64 bits (pg_current_xact_id).';
COMMENT ON COLUMN ops.row_hashes.row_versions IS 'Rows of the window in the target by the transaction that wrote them (xmin), as xid:rows or the SHA-256 of that: any other write changes it.';
COMMENT ON COLUMN ops.row_hashes.hashes IS 'One hash of 8 bytes, little-endian, for each row that was loaded.';
COMMENT ON COLUMN ops.row_hashes.added IS 'Hashes that came since, each after its place of 4 bytes: a load in which little differs writes down only that.';
COMMENT ON COLUMN ops.row_hashes.dropped IS 'Places of those of hashes that count no more, 4 bytes each.';

-- Whether a row of a table says by its xmin who wrote it last, and holds what was sent: no trigger
-- or rule may change it on its way, no policy hide it, and its storage has to be PostgreSQL's own.
CREATE FUNCTION ops.tells_row_versions(target regclass) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    WITH RECURSIVE parts AS (
        SELECT target::oid AS oid
        UNION
        SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN parts AS p ON i.inhparent = p.oid
    )
    SELECT coalesce(bool_and((c.relkind = 'p' OR c.relkind = 'r' AND m.amname = 'heap')
                             AND NOT c.relhasrules
                             AND NOT c.relrowsecurity
                             AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS g
                                             WHERE g.tgrelid = c.oid
                                               AND NOT g.tgisinternal
                                               AND g.tgenabled <> 'D')), false)
    FROM parts AS p
    JOIN pg_catalog.pg_class AS c ON c.oid = p.oid
    LEFT JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
$$;
COMMENT ON FUNCTION ops.tells_row_versions(regclass) IS 'Whether xmin says who wrote each row of a table, and each row is what was sent.';
