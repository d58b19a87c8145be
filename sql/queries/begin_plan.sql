-- A plan and its windows, before the first of them is opened.
WITH begun AS (
    INSERT INTO ops.plans (target, scope, feed, run_id, first_key, last_key, route, symbols,
                           is_forced, windows_asked, windows_needed, planned_calls, planned_rows,
                           planned_seconds, planned_seconds_p90, tokens_left)
    VALUES (%(target)s, %(scope)s, %(feed)s, %(run_id)s, %(first_key)s, %(last_key)s, %(route)s,
            %(symbols)s, %(is_forced)s, %(windows_asked)s, %(windows_needed)s, %(planned_calls)s,
            %(planned_rows)s, %(planned_seconds)s, %(planned_seconds_p90)s, %(tokens_left)s)
    RETURNING plan_id
),
planned AS (
    INSERT INTO ops.plan_windows (plan_id, window_key, why, is_needed)
    SELECT begun.plan_id, w.window_key, w.why, w.is_needed
    FROM begun,
         unnest(%(window_keys)s::text[], %(whys)s::text[], %(needed)s::boolean[])
             AS w (window_key, why, is_needed)
)
SELECT plan_id FROM begun
