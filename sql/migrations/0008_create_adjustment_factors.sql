-- Raw prices and adjustment factors are stored apart: a dividend changes one factor, not a history.
CREATE TABLE market.adjustment_factors (
    source             text COLLATE "C" NOT NULL,
    symbol             text COLLATE "C" NOT NULL,
    ex_date            date             NOT NULL,
    factor             numeric(24, 12)  NOT NULL,
    revision           integer          NOT NULL DEFAULT 1,
    load_id            bigint           NOT NULL,
    CONSTRAINT adjustment_factors_pkey PRIMARY KEY (source, symbol, ex_date),
    CONSTRAINT adjustment_factors_are_positive CHECK (factor > 0)
);
COMMENT ON TABLE market.adjustment_factors IS 'Cumulative backward factors of a source''s raw bars, one row for each change.';
COMMENT ON COLUMN market.adjustment_factors.ex_date IS 'First trade date on which the factor holds; before the first one of a symbol it is 1.';
COMMENT ON COLUMN market.adjustment_factors.factor IS 'Raw price times this is the backward-adjusted (hfq) price.';

CREATE VIEW market.daily_bars_hfq AS
SELECT
    b.source,
    b.symbol,
    b.trade_date,
    round(b.open * coalesce(f.factor, 1), 6) AS open,
    round(b.high * coalesce(f.factor, 1), 6) AS high,
    round(b.low * coalesce(f.factor, 1), 6) AS low,
    round(b.close * coalesce(f.factor, 1), 6) AS close,
    round(b.pre_close * coalesce(f.factor, 1), 6) AS pre_close,
    b.volume,
    b.amount,
    'hfq'::text AS adjustment,
    b.status,
    coalesce(f.factor, 1) AS factor
FROM market.daily_bars AS b
LEFT JOIN LATERAL (
    SELECT a.factor
    FROM market.adjustment_factors AS a
    WHERE a.source = b.source AND a.symbol = b.symbol AND a.ex_date <= b.trade_date
    ORDER BY a.ex_date DESC
    LIMIT 1
) AS f ON TRUE
WHERE b.adjustment = 'raw';
COMMENT ON VIEW market.daily_bars_hfq IS 'Backward-adjusted bars: raw prices times the factor of their day. Volume and amount stay as traded.';
COMMENT ON COLUMN market.daily_bars_hfq.factor IS 'What the raw prices were multiplied with; 1 where no factor is known.';

CREATE VIEW market.daily_bars_qfq AS
SELECT
    b.source,
    b.symbol,
    b.trade_date,
    round(b.open * coalesce(f.factor, 1) / coalesce(n.factor, 1), 6) AS open,
    round(b.high * coalesce(f.factor, 1) / coalesce(n.factor, 1), 6) AS high,
    round(b.low * coalesce(f.factor, 1) / coalesce(n.factor, 1), 6) AS low,
    round(b.close * coalesce(f.factor, 1) / coalesce(n.factor, 1), 6) AS close,
    round(b.pre_close * coalesce(f.factor, 1) / coalesce(n.factor, 1), 6) AS pre_close,
    b.volume,
    b.amount,
    'qfq'::text AS adjustment,
    b.status,
    coalesce(f.factor, 1) / coalesce(n.factor, 1) AS factor
FROM market.daily_bars AS b
-- A factor announced for a day that has not been traded yet changes nothing before that day.
CROSS JOIN LATERAL (
    SELECT max(d.trade_date) AS trade_date FROM market.daily_bars AS d WHERE d.source = b.source
) AS newest
LEFT JOIN LATERAL (
    SELECT a.factor
    FROM market.adjustment_factors AS a
    WHERE a.source = b.source AND a.symbol = b.symbol AND a.ex_date <= b.trade_date
    ORDER BY a.ex_date DESC
    LIMIT 1
) AS f ON TRUE
LEFT JOIN LATERAL (
    SELECT a.factor
    FROM market.adjustment_factors AS a
    WHERE a.source = b.source AND a.symbol = b.symbol AND a.ex_date <= newest.trade_date
    ORDER BY a.ex_date DESC
    LIMIT 1
) AS n ON TRUE
WHERE b.adjustment = 'raw';
COMMENT ON VIEW market.daily_bars_qfq IS 'Forward-adjusted bars: those of the source''s newest trade date are raw. Volume and amount stay as traded.';
COMMENT ON COLUMN market.daily_bars_qfq.factor IS 'What the raw prices were multiplied with: the factor of the day over that of the source''s newest trade date.';
