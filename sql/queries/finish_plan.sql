-- What became of a plan: calls, rows and seconds of the run, the load of each window.
WITH loaded AS (
    UPDATE ops.plan_windows AS p
    SET load_id = w.load_id,
        state = w.state
    FROM unnest(%(window_keys)s::text[], %(load_ids)s::bigint[], %(states)s::text[])
        AS w (window_key, load_id, state)
    WHERE p.plan_id = %(plan_id)s AND p.window_key = w.window_key
)
UPDATE ops.plans
SET finished_at = clock_timestamp(),
    made_calls = %(made_calls)s,
    read_rows = %(read_rows)s,
    seconds = %(seconds)s
WHERE plan_id = %(plan_id)s
