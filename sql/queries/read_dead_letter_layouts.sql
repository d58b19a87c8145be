-- Which columns the open dead letters of a load have, without their values; few for any number.
SELECT DISTINCT (SELECT jsonb_agg(jsonb_build_array(c -> 0, c -> 2, c -> 4) ORDER BY (c ->> 4)::int)
                 FROM jsonb_array_elements(layout) AS c) AS columns
FROM ops.dead_letters
WHERE target = %(target)s
  AND scope = %(scope)s
  AND window_key = %(window_key)s
  AND layout IS NOT NULL
