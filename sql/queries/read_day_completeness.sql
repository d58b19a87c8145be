-- What each day should have and has: against the universe where the source's is known, else
-- against the day before. Days of the same transaction are not in ops.windows yet.
WITH days AS (
    SELECT window_key, window_key::date AS day, row_count
    FROM unnest(%(window_keys)s::text[], %(row_counts)s::bigint[]) AS given (window_key, row_count)
)
SELECT w.window_key,
       w.row_count AS stored,
       u.expected,
       u.missing,
       u.examples,
       p.window_key AS previous_key,
       p.row_count AS previous_rows,
       e.excused
FROM days AS w
CROSS JOIN LATERAL (
    SELECT count(*) AS expected,
           count(*) FILTER (WHERE b.symbol IS NULL) AS missing,
           (array_agg(i.symbol ORDER BY i.symbol) FILTER (WHERE b.symbol IS NULL))[1:5] AS examples
    FROM market.instruments AS i
    LEFT JOIN market.daily_bars AS b
        ON b.source = %(scope)s AND b.trade_date = w.day AND b.symbol = i.symbol
        -- Says the same once more, so that only one or two years of the table are looked at.
        AND b.trade_date BETWEEN %(first_key)s::date AND %(last_key)s::date
    WHERE i.source = %(scope)s
      AND i.listed_on <= w.day
      AND (i.delisted_on IS NULL OR i.delisted_on > w.day)
      AND NOT EXISTS (
          SELECT FROM market.suspensions AS s
          WHERE s.source = %(scope)s AND s.trade_date = w.day AND s.symbol = i.symbol)
) AS u
LEFT JOIN LATERAL (
    SELECT near.window_key, near.row_count
    FROM (
        (SELECT k.window_key, k.row_count, 1 AS age
         FROM ops.windows AS k
         WHERE k.target = %(target)s AND k.scope = %(scope)s AND k.window_key < w.window_key
         ORDER BY k.window_key DESC
         LIMIT 1)
        UNION ALL
        SELECT d.window_key, d.row_count, 0 FROM days AS d WHERE d.window_key < w.window_key
    ) AS near
    -- The longest closure of an exchange is eleven days; what is older is no day before.
    WHERE near.window_key::date >= w.day - 15
    ORDER BY near.window_key DESC, near.age
    LIMIT 1
) AS p ON TRUE
CROSS JOIN LATERAL (
    SELECT count(*) AS excused
    FROM market.daily_bars AS b
    WHERE b.source = %(scope)s
      AND b.trade_date = p.window_key::date
      AND b.trade_date BETWEEN %(first_key)s::date - 15 AND %(last_key)s::date
      -- Only a day that lost rows needs an excuse.
      AND u.expected = 0
      AND p.row_count > w.row_count
      AND NOT EXISTS (
          SELECT FROM market.daily_bars AS n
          WHERE n.source = %(scope)s AND n.trade_date = w.day AND n.symbol = b.symbol
            AND n.trade_date BETWEEN %(first_key)s::date AND %(last_key)s::date)
      AND (EXISTS (
              SELECT FROM market.suspensions AS s
              WHERE s.source = %(scope)s AND s.trade_date = w.day AND s.symbol = b.symbol)
          OR EXISTS (
              SELECT FROM market.instruments AS i
              WHERE i.source = %(scope)s AND i.symbol = b.symbol AND i.delisted_on <= w.day))
) AS e
ORDER BY w.window_key
