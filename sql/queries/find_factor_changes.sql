-- Rows to store so that a day reads the factors given for it, and the days that were read before
-- go on reading what they do. A factor holds from its ex_date to the next one's.
WITH given AS (
    SELECT symbol, factor
    FROM unnest(%(symbols)s::text[], %(factors)s::numeric(24, 12)[]) AS g (symbol, factor)
),
changed AS (
    SELECT g.symbol, g.factor, coalesce(f.factor, 1) AS stored
    FROM given AS g
    LEFT JOIN LATERAL (
        SELECT a.factor
        FROM market.adjustment_factors AS a
        WHERE a.source = %(source)s AND a.symbol = g.symbol AND a.ex_date <= %(day)s
        ORDER BY a.ex_date DESC
        LIMIT 1
    ) AS f ON TRUE
    WHERE g.factor <> coalesce(f.factor, 1)
),
next_read AS (
    SELECT min(l.window_key)::date AS day
    FROM ops.loads AS l
    WHERE l.target = %(target)s AND l.scope = %(source)s AND l.state IN ('success', 'partial')
      AND l.window_key > %(day)s::date::text AND l.window_key ~ '^\d{4}-\d\d-\d\d$'
)
SELECT c.symbol, %(day)s::date AS ex_date, c.factor
FROM changed AS c
UNION ALL
SELECT c.symbol, n.day, c.stored
FROM changed AS c
JOIN next_read AS n ON n.day IS NOT NULL
WHERE NOT EXISTS (
    SELECT FROM market.adjustment_factors AS a
    WHERE a.source = %(source)s AND a.symbol = c.symbol
      AND a.ex_date > %(day)s AND a.ex_date <= n.day)
ORDER BY symbol, ex_date
