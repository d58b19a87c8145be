-- Symbols that the vendor still owes, by day.
SELECT d.day, array_agg(DISTINCT f.symbol ORDER BY f.symbol)
FROM unnest(%(days)s::date[]) AS d (day)
JOIN market.failed_symbols AS f
    ON f.source = %(source)s AND NOT isempty(f.owed_days) AND f.owed_days @> d.day
GROUP BY d.day
