-- Symbols that traded on a day, or should have where its bars are not stored yet, and of which the
-- vendor gave no factor.
WITH traded AS (
    SELECT b.symbol
    FROM market.daily_bars AS b
    WHERE b.source = %(source)s AND b.trade_date = %(day)s AND b.status = 'traded'
),
expected AS (
    SELECT symbol FROM traded
    UNION ALL
    SELECT i.symbol
    FROM market.instruments AS i
    WHERE NOT EXISTS (SELECT FROM traded)
      AND i.source = %(source)s
      AND i.listed_on <= %(day)s
      AND (i.delisted_on IS NULL OR i.delisted_on > %(day)s)
      AND NOT EXISTS (
          SELECT FROM market.suspensions AS s
          WHERE s.source = %(source)s AND s.trade_date = %(day)s AND s.symbol = i.symbol)
)
SELECT e.symbol
FROM expected AS e
WHERE e.symbol <> ALL (%(symbols)s::text[])
ORDER BY e.symbol
