-- For each day: whether it has raw bars, and how the reading of its factors ended last.
SELECT d.day,
       EXISTS (
           SELECT FROM market.daily_bars AS b
           WHERE b.source = %(source)s AND b.trade_date = d.day AND b.adjustment = 'raw') AS has_bars,
       l.state
FROM (
    SELECT unnest(%(days)s::date[]) AS day
    UNION
    SELECT max(b.trade_date) FROM market.daily_bars AS b WHERE b.source = %(source)s
) AS d
LEFT JOIN LATERAL (
    SELECT o.state
    FROM ops.loads AS o
    WHERE o.resource = %(target)s || '/' || %(source)s || '/' || d.day::text
      AND o.state IN ('success', 'partial')
    ORDER BY o.load_id DESC
    LIMIT 1
) AS l ON TRUE
WHERE d.day IS NOT NULL
ORDER BY d.day
