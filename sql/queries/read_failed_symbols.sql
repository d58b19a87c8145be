-- Symbols that the vendor still owes each day, for a window check.
SELECT w.window_key,
       count(*) AS failed,
       (array_agg(f.symbol ORDER BY f.symbol))[1:5] AS examples,
       (array_agg(f.error_message ORDER BY f.symbol))[1] AS first_message
FROM unnest(%(window_keys)s::text[]) AS w (window_key)
JOIN market.failed_symbols AS f
    ON f.source = %(scope)s AND NOT isempty(f.owed_days) AND f.owed_days @> w.window_key::date
GROUP BY w.window_key
ORDER BY w.window_key
