-- Dead letters by what is asked for; a condition that is null asks for nothing.
SELECT
    dead_letter_id,
    target,
    scope,
    window_key,
    load_id,
    coalesce(read_load_id, load_id) AS read_load_id,
    state,
    source_file,
    row_number,
    rule,
    violations,
    original,
    layout,
    corrected,
    seen_count,
    first_seen_at,
    coalesce(answered_by, '') AS answered_by,
    answered_at,
    coalesce(answered_from, '') AS answered_from,
    answer_load_id,
    coalesce(resolution, '') AS resolution,
    personal
FROM ops.dead_letters
WHERE (%(ids)s::bigint[] IS NULL OR dead_letter_id = ANY (%(ids)s::bigint[]))
  AND (%(target)s::text IS NULL OR target = %(target)s OR starts_with(target, %(target)s || '.'))
  AND (%(scope)s::text IS NULL OR scope = %(scope)s)
  AND (%(window_key)s::text IS NULL OR window_key = %(window_key)s
       OR starts_with(window_key, %(window_key)s || '/'))
  AND (%(rule)s::text IS NULL OR rule = %(rule)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(load_id)s::bigint IS NULL OR load_id = %(load_id)s)
ORDER BY target, scope, window_key, source_file, violations -> 0 ->> 'sheet', row_number, dead_letter_id
