-- Days of daily bars whose rows are not as many as were published last.
SELECT w.scope, w.window_key, w.row_count AS published, coalesce(b.row_count, 0) AS found
FROM ops.windows AS w
LEFT JOIN (SELECT source, trade_date, count(*) AS row_count
           FROM market.daily_bars
           GROUP BY source, trade_date) AS b
    ON b.source = w.scope AND b.trade_date::text = w.window_key
WHERE w.target = 'market.daily_bars'
  AND w.row_count <> coalesce(b.row_count, 0)
ORDER BY w.scope, w.window_key
