-- How the symbols lie that days lack: whole exchanges, and runs of neighbouring codes, which a
-- request that failed leaves, while suspensions scatter. Asked only of days that are not complete.
WITH days AS (
    SELECT window_key, window_key::date AS day
    FROM unnest(%(window_keys)s::text[]) AS given (window_key)
),
judged AS (
    SELECT w.window_key, w.day, p.window_key AS previous_key
    FROM days AS w
    LEFT JOIN LATERAL (
        SELECT greatest(
            (SELECT max(k.window_key) FROM ops.windows AS k
             WHERE k.target = %(target)s AND k.scope = %(scope)s AND k.window_key < w.window_key),
            (SELECT max(d.window_key) FROM days AS d WHERE d.window_key < w.window_key)) AS window_key
    ) AS p ON p.window_key::date >= w.day - 15
    WHERE w.window_key = ANY (%(wanted_keys)s::text[])
),
universe AS (
    SELECT j.window_key, i.symbol
    FROM judged AS j
    JOIN market.instruments AS i
        ON i.source = %(scope)s AND i.listed_on <= j.day
        AND (i.delisted_on IS NULL OR i.delisted_on > j.day)
),
expected AS (
    SELECT window_key, symbol FROM universe
    UNION ALL
    -- Where nobody says what is listed, the day before does.
    SELECT j.window_key, b.symbol
    FROM judged AS j
    JOIN market.daily_bars AS b ON b.source = %(scope)s AND b.trade_date = j.previous_key::date
    WHERE NOT EXISTS (SELECT FROM universe)
      AND b.trade_date BETWEEN %(first_key)s::date - 15 AND %(last_key)s::date
),
marked AS (
    SELECT j.window_key,
           j.previous_key,
           e.symbol,
           substring(e.symbol FROM '[^.]*$') AS exchange,
           n.symbol IS NULL AS is_missing,
           q.symbol IS NULL AS was_missing
    FROM judged AS j
    JOIN expected AS e ON e.window_key = j.window_key
    LEFT JOIN market.daily_bars AS n
        ON n.source = %(scope)s AND n.trade_date = j.day AND n.symbol = e.symbol
        AND n.trade_date BETWEEN %(first_key)s::date AND %(last_key)s::date
    LEFT JOIN market.daily_bars AS q
        ON q.source = %(scope)s AND q.trade_date = j.previous_key::date AND q.symbol = e.symbol
        AND q.trade_date BETWEEN %(first_key)s::date - 15 AND %(last_key)s::date
    WHERE NOT EXISTS (
        SELECT FROM market.suspensions AS s
        WHERE s.source = %(scope)s AND s.trade_date = j.day AND s.symbol = e.symbol)
),
placed AS (
    SELECT m.*,
           count(*) OVER (PARTITION BY window_key, exchange) AS of_exchange,
           row_number() OVER (PARTITION BY window_key, exchange ORDER BY symbol)
               - row_number() OVER (PARTITION BY window_key, exchange, is_missing ORDER BY symbol)
               AS island
    FROM marked AS m
),
runs AS (
    SELECT window_key,
           previous_key,
           exchange,
           of_exchange,
           count(*) AS symbols,
           min(symbol) AS first_symbol,
           max(symbol) AS last_symbol,
           bool_and(was_missing) AS was_missing
    FROM placed
    WHERE is_missing
    GROUP BY window_key, previous_key, exchange, of_exchange, island
)
SELECT window_key,
       array_agg(exchange ORDER BY exchange) FILTER (WHERE symbols = of_exchange AND symbols >= 5) AS exchanges,
       array_agg(
           format('%%s to %%s (%%s%%s)', first_symbol, last_symbol, symbols,
                  CASE WHEN was_missing AND previous_key IS NOT NULL
                       THEN ', missing on ' || previous_key || ' too' ELSE '' END)
           ORDER BY symbols DESC, first_symbol)
           FILTER (WHERE symbols >= 5 AND symbols < of_exchange) AS runs
FROM runs
GROUP BY window_key
ORDER BY window_key
