-- Daily bars of every market feed. Partitioned by year: an index stays small enough to be cached
-- however long the history grows, and a year can be moved or dropped as one table.
CREATE SCHEMA market;
COMMENT ON SCHEMA market IS 'Market data: daily bars, one row per source, symbol and trade date.';

CREATE TABLE market.daily_bars (
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
    adjustment         text COLLATE "C" NOT NULL DEFAULT 'raw',
    status             text COLLATE "C" NOT NULL DEFAULT 'traded',
    revision           integer          NOT NULL DEFAULT 1,
    load_id            bigint           NOT NULL,
    -- The date stands before the symbol: a day is appended at the right edge of the index, which
    -- halves the cost of loading it (measured: 1.1 s against 2.0 s for 500,000 rows with an index
    -- by symbol first), and one index serves both uniqueness and "the market on that day".
    -- The history of a symbol skips from date to date within it (PostgreSQL 18 and newer).
    CONSTRAINT daily_bars_pkey PRIMARY KEY (source, trade_date, symbol),
    CONSTRAINT daily_bars_adjustment_is_known CHECK (adjustment IN ('raw', 'qfq', 'hfq')),
    CONSTRAINT daily_bars_status_is_known CHECK (status IN ('traded', 'suspended', 'no_trade'))
) PARTITION BY RANGE (trade_date);

-- Bars before 1990 are few; years after the last one below land in `later` until a migration adds them.
CREATE TABLE market.daily_bars_before_1990 PARTITION OF market.daily_bars FOR VALUES FROM (MINVALUE) TO ('1990-01-01');
DO $$
BEGIN
    FOR year IN 1990..2039 LOOP
        EXECUTE format(
            'CREATE TABLE market.%I PARTITION OF market.daily_bars FOR VALUES FROM (%L) TO (%L)',
            'daily_bars_' || year, make_date(year, 1, 1), make_date(year + 1, 1, 1));
    END LOOP;
END
$$;
CREATE TABLE market.daily_bars_later PARTITION OF market.daily_bars FOR VALUES FROM ('2040-01-01') TO (MAXVALUE);

COMMENT ON TABLE market.daily_bars IS 'One row per source, symbol and trade date; prices in the listing''s currency.';
COMMENT ON COLUMN market.daily_bars.source IS 'The feed''s source; a vendor or a set of files with one price adjustment.';
COMMENT ON COLUMN market.daily_bars.symbol IS 'Canonical symbol: code and exchange (600000.SH, AAPL.US).';
COMMENT ON COLUMN market.daily_bars.trade_date IS 'The exchange''s local date.';
COMMENT ON COLUMN market.daily_bars.pre_close IS 'Previous close as the vendor states it, NULL where it does not.';
COMMENT ON COLUMN market.daily_bars.volume IS 'Shares or units traded; 0 when suspended.';
COMMENT ON COLUMN market.daily_bars.amount IS 'Turnover in currency units, NULL where the vendor does not state it.';
COMMENT ON COLUMN market.daily_bars.adjustment IS 'raw, qfq (forward-adjusted) or hfq (backward-adjusted), as the feed declares.';
COMMENT ON COLUMN market.daily_bars.status IS 'traded, suspended (open, high and low NULL; close as the vendor carries it over) or no_trade.';
COMMENT ON COLUMN market.daily_bars.revision IS '1 when first loaded, raised by each later change of the row.';
COMMENT ON COLUMN market.daily_bars.load_id IS 'ops.loads row that wrote this version.';
