SELECT coalesce(sum(copies - 1), 0)::bigint, count(*) FILTER (WHERE copies > 1), coalesce(sum(copies), 0)::bigint
FROM (
    SELECT count(*) AS copies
    FROM market.daily_bars
    WHERE source = %(source)s AND trade_date = ANY (%(days)s)
    GROUP BY trade_date, symbol
) AS keys
