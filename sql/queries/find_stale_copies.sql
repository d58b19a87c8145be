-- Bars that are equal to those of the stored days before and after.
WITH days AS (
    SELECT window_key, window_key::date AS day, row_count,
           %(samples)s::jsonb -> window_key AS symbols
    FROM unnest(%(window_keys)s::text[], %(row_counts)s::bigint[]) AS given (window_key, row_count)
)
SELECT w.window_key, n.window_key AS other_key, c.common, c.same
FROM days AS w
CROSS JOIN LATERAL (
    SELECT greatest(
        (SELECT max(k.window_key) FROM ops.windows AS k
         WHERE k.target = %(target)s AND k.scope = %(scope)s AND k.window_key < w.window_key),
        (SELECT max(d.window_key) FROM days AS d WHERE d.window_key < w.window_key)) AS window_key
    UNION ALL
    SELECT after.window_key
    FROM (
        SELECT least(
            (SELECT min(k.window_key) FROM ops.windows AS k
             WHERE k.target = %(target)s AND k.scope = %(scope)s AND k.window_key > w.window_key),
            (SELECT min(d.window_key) FROM days AS d WHERE d.window_key > w.window_key)) AS window_key
    ) AS after
    -- A day that is asked for itself is compared with this one as the day before it.
    WHERE after.window_key NOT IN (SELECT d.window_key FROM days AS d)
) AS n
-- Some symbols tell most days apart at a fraction of the cost of comparing all of them.
CROSS JOIN LATERAL (
    SELECT count(*) AS common, count(*) FILTER (WHERE a.volume = b.volume AND a.close = b.close) AS same
    FROM (
        -- Those the loader has chosen of the rows it has just written, else one in 32.
        SELECT mine.symbol, mine.volume, mine.close
        FROM jsonb_array_elements_text(w.symbols) AS chosen (symbol)
        -- OFFSET keeps it a probe of the index for each sampled symbol.
        CROSS JOIN LATERAL (
            SELECT own.symbol, own.volume, own.close
            FROM market.daily_bars AS own
            WHERE own.source = %(scope)s
              AND own.trade_date = w.day
              AND own.trade_date BETWEEN %(first_key)s::date AND %(last_key)s::date
              AND own.symbol = chosen.symbol
            OFFSET 0
        ) AS mine
        UNION ALL
        SELECT own.symbol, own.volume, own.close
        FROM market.daily_bars AS own
        WHERE w.symbols IS NULL
          AND own.source = %(scope)s
          AND own.trade_date = w.day
          AND own.trade_date BETWEEN %(first_key)s::date AND %(last_key)s::date
          AND hashtext(own.symbol) %% 32 = 0
    ) AS a
    CROSS JOIN LATERAL (
        SELECT near.volume, near.close
        FROM market.daily_bars AS near
        WHERE near.source = %(scope)s
          AND near.trade_date = n.window_key::date
          AND near.trade_date BETWEEN %(first_key)s::date - 15 AND %(last_key)s::date + 15
          AND near.symbol = a.symbol
        OFFSET 0
    ) AS b
    WHERE a.volume > 0
      AND b.volume > 0
) AS sample
CROSS JOIN LATERAL (
    SELECT count(*) AS common,
           count(*) FILTER (
               WHERE a.volume = b.volume
                 AND (a.close, a.open, a.high, a.low, a.amount)
                     IS NOT DISTINCT FROM (b.close, b.open, b.high, b.low, b.amount)) AS same
    FROM market.daily_bars AS a
    JOIN market.daily_bars AS b ON b.symbol = a.symbol
    WHERE a.source = %(scope)s AND a.trade_date = w.day AND a.volume > 0
      AND b.source = %(scope)s AND b.trade_date = n.window_key::date AND b.volume > 0
      -- A quarter of a sample is far from the half that makes a copy; a small one says nothing.
      AND (sample.common < 20 OR 4 * sample.same >= sample.common)
      -- Says the same once more, so that only one or two years of the table are looked at.
      AND a.trade_date BETWEEN %(first_key)s::date AND %(last_key)s::date
      AND b.trade_date BETWEEN %(first_key)s::date - 15 AND %(last_key)s::date + 15
) AS c
WHERE n.window_key::date BETWEEN w.day - 15 AND w.day + 15
