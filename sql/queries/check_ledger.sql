-- Loads whose rows do not add up, and days that no longer hold the rows their last publish left.
WITH judged AS (
    SELECT *
    FROM ops.loads
    WHERE load_id = ANY (%(load_ids)s) AND state IN ('success', 'partial')
),
stored AS (
    SELECT trade_date, count(*) AS row_count
    FROM market.daily_bars
    WHERE source = %(source)s AND trade_date = ANY (ARRAY(SELECT window_key::date FROM judged))
    GROUP BY trade_date
)
SELECT count(*) FILTER (
           WHERE l.rows_read <> l.rows_inserted + l.rows_updated + l.rows_unchanged
                              + l.rows_duplicate + l.rows_rejected + l.rows_skipped
              OR l.rows_after <> l.rows_before + l.rows_inserted - l.rows_deleted),
       coalesce(array_agg(
           l.window_key || ' has ' || coalesce(s.row_count, 0) || ' rows instead of '
               || coalesce(w.row_count::text, 'none known')
           ORDER BY l.window_key) FILTER (
               WHERE w.row_count IS DISTINCT FROM coalesce(s.row_count, 0)), '{}'),
       count(*),
       coalesce(sum(l.rows_read), 0)::bigint
FROM judged AS l
LEFT JOIN ops.windows AS w USING (target, scope, window_key)
LEFT JOIN stored AS s ON s.trade_date = l.window_key::date
