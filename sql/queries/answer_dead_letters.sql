-- The answers of one replay. What is still wrong stays open, with the values that were tried.
UPDATE ops.dead_letters AS l
SET state = a.state,
    corrected = coalesce(a.given, l.corrected),
    violations = coalesce(a.violations, l.violations),
    rule = coalesce(a.violations -> 0 ->> 'rule', l.rule),
    resolution = a.resolution,
    answered_by = %(who)s,
    answered_at = clock_timestamp(),
    answered_from = %(answered_from)s,
    answer_load_id = %(load_id)s,
    resolved_at = CASE WHEN a.state = 'open' THEN NULL ELSE clock_timestamp() END
FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(givens)s::jsonb[], %(violations)s::jsonb[],
            %(resolutions)s::text[]) AS a (dead_letter_id, state, given, violations, resolution)
WHERE l.dead_letter_id = a.dead_letter_id
  AND l.state = 'open'
