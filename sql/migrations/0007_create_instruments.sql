-- What a source lists, under which names, and what did not trade on a day: the universe against
-- which a day of bars is complete or not.
CREATE TABLE market.instruments (
    source             text COLLATE "C" NOT NULL,
    symbol             text COLLATE "C" NOT NULL,
    name               text,
    board              text,
    listed_on          date,
    delisted_on        date,
    revision           integer          NOT NULL DEFAULT 1,
    load_id            bigint           NOT NULL,
    CONSTRAINT instruments_pkey PRIMARY KEY (source, symbol),
    CONSTRAINT instruments_end_after_they_begin CHECK (delisted_on >= listed_on)
);
COMMENT ON TABLE market.instruments IS 'One row per source and symbol that the source gives bars of.';
COMMENT ON COLUMN market.instruments.board IS 'Section of the exchange as the vendor names it (main, ChiNext, STAR).';
COMMENT ON COLUMN market.instruments.listed_on IS 'First trade date; NULL where the source does not say, and then no bar is expected of it.';
COMMENT ON COLUMN market.instruments.delisted_on IS 'First date on which it is not listed any more; NULL while it is.';

CREATE TABLE market.instrument_aliases (
    source             text COLLATE "C" NOT NULL,
    alias              text COLLATE "C" NOT NULL,
    valid_from         date             NOT NULL,
    valid_to           date,
    symbol             text COLLATE "C" NOT NULL,
    revision           integer          NOT NULL DEFAULT 1,
    load_id            bigint           NOT NULL,
    CONSTRAINT instrument_aliases_pkey PRIMARY KEY (source, alias, valid_from),
    CONSTRAINT instrument_aliases_end_after_they_begin CHECK (valid_to > valid_from)
);
COMMENT ON TABLE market.instrument_aliases IS 'Other names of instruments, with the dates on which they are meant: codes change, and tickers are used again.';
COMMENT ON COLUMN market.instrument_aliases.alias IS 'A canonical symbol that stands for `symbol` in these days (430047.BJ for 920047.BJ).';
COMMENT ON COLUMN market.instrument_aliases.valid_to IS 'First date on which it does not any more; NULL while it does.';

CREATE TABLE market.suspensions (
    source             text COLLATE "C" NOT NULL,
    trade_date         date             NOT NULL,
    symbol             text COLLATE "C" NOT NULL,
    reason             text,
    revision           integer          NOT NULL DEFAULT 1,
    load_id            bigint           NOT NULL,
    CONSTRAINT suspensions_pkey PRIMARY KEY (source, trade_date, symbol)
);
COMMENT ON TABLE market.suspensions IS 'One row per symbol and trade date without trading, for the whole day.';
COMMENT ON COLUMN market.suspensions.reason IS 'As the source states it.';
