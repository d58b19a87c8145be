-- Volume of each day, and the median of the ten stored sessions before it.
WITH totals AS (
    SELECT trade_date, sum(volume)::double precision AS volume
    FROM market.daily_bars
    WHERE source = %(source)s
      AND trade_date BETWEEN %(first_day)s::date - 30 AND %(last_day)s::date
    GROUP BY trade_date
)
SELECT t.trade_date, t.volume, m.median, m.sessions
FROM totals AS t
CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY b.volume) AS median, count(*) AS sessions
    FROM (
        SELECT o.volume FROM totals AS o
        WHERE o.trade_date < t.trade_date
        ORDER BY o.trade_date DESC
        LIMIT 10
    ) AS b
) AS m
WHERE t.trade_date = ANY (%(days)s)
ORDER BY t.trade_date
