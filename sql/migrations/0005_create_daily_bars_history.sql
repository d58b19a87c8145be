-- Late corrections: what every bar was before, and when that was known. A first load writes nothing
-- here: since when the current version is known follows from the load that wrote it, so that a
-- stored row carries no instant of its own.
ALTER TABLE ops.loads ADD COLUMN known_at timestamptz;
COMMENT ON COLUMN ops.loads.known_at IS 'From when on the rows this load wrote count as known: the start of its publishing transaction, one instant for all of its rows.';

-- Not partitioned: corrections are few, and an index by key finds them in any year.
CREATE TABLE market.daily_bars_history (
    source             text COLLATE "C" NOT NULL,
    symbol             text COLLATE "C" NOT NULL,
    trade_date         date             NOT NULL,
    open               numeric(20, 6),
    high               numeric(20, 6),
    low                numeric(20, 6),
    close              numeric(20, 6),
    pre_close          numeric(20, 6),
    volume             numeric(24, 8)   NOT NULL,
    amount             numeric(24, 4),
    adjustment         text COLLATE "C" NOT NULL,
    status             text COLLATE "C" NOT NULL,
    revision           integer          NOT NULL,
    load_id            bigint           NOT NULL,
    known_from         timestamptz      NOT NULL,
    known_to           timestamptz      NOT NULL,
    superseded_by      bigint           NOT NULL,
    -- One load replaces a row once; a revision can come again after a deletion.
    CONSTRAINT daily_bars_history_pkey PRIMARY KEY (source, trade_date, symbol, superseded_by),
    CONSTRAINT daily_bars_history_ends_after_it_begins CHECK (known_from <= known_to)
);
COMMENT ON TABLE market.daily_bars_history IS 'Former versions of rows of market.daily_bars; written by the load that replaced them, in its transaction.';
COMMENT ON COLUMN market.daily_bars_history.revision IS 'Version of the row, from 1; the current one is in market.daily_bars.';
COMMENT ON COLUMN market.daily_bars_history.load_id IS 'ops.loads row that wrote this version.';
COMMENT ON COLUMN market.daily_bars_history.known_from IS 'ops.loads.known_at of the load that wrote this version, -infinity where no load is known.';
COMMENT ON COLUMN market.daily_bars_history.known_to IS 'ops.loads.known_at of the load that replaced it; exclusive.';
COMMENT ON COLUMN market.daily_bars_history.superseded_by IS 'ops.loads row that replaced this version.';

CREATE VIEW market.daily_bars_versions AS
SELECT
    b.source,
    b.symbol,
    b.trade_date,
    b.open,
    b.high,
    b.low,
    b.close,
    b.pre_close,
    b.volume,
    b.amount,
    b.adjustment,
    b.status,
    b.revision,
    b.load_id,
    coalesce(l.known_at, '-infinity') AS known_from,
    timestamptz 'infinity' AS known_to,
    NULL::bigint AS superseded_by
FROM market.daily_bars AS b
LEFT JOIN ops.loads AS l ON l.load_id = b.load_id
UNION ALL
SELECT
    source,
    symbol,
    trade_date,
    open,
    high,
    low,
    close,
    pre_close,
    volume,
    amount,
    adjustment,
    status,
    revision,
    load_id,
    known_from,
    known_to,
    superseded_by
FROM market.daily_bars_history;
COMMENT ON VIEW market.daily_bars_versions IS 'Every version of every bar, known from known_from to before known_to.';

-- STABLE, plain SQL and not STRICT, so that the planner inlines it: conditions on source and
-- trade_date reach the indexes of both tables.
CREATE FUNCTION market.daily_bars_as_of(at timestamptz) RETURNS SETOF market.daily_bars
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        source,
        symbol,
        trade_date,
        open,
        high,
        low,
        close,
        pre_close,
        volume,
        amount,
        adjustment,
        status,
        revision,
        load_id
    FROM market.daily_bars_versions
    WHERE known_from <= at AND at < known_to
$$;
COMMENT ON FUNCTION market.daily_bars_as_of IS 'The rows of market.daily_bars as they were known at an instant.';
