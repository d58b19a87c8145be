-- The windows themselves, for a check that holds for each of them whatever its rows are.
SELECT w.window_key
FROM unnest(%(window_keys)s::text[]) AS w (window_key)
