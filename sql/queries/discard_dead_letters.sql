-- The same conditions as read_dead_letters, for open ones.
UPDATE ops.dead_letters
SET state = 'discarded',
    resolution = %(resolution)s,
    answered_by = %(who)s,
    answered_at = clock_timestamp(),
    resolved_at = clock_timestamp()
WHERE state = 'open'
  AND (%(ids)s::bigint[] IS NULL OR dead_letter_id = ANY (%(ids)s::bigint[]))
  AND (%(target)s::text IS NULL OR target = %(target)s OR starts_with(target, %(target)s || '.'))
  AND (%(scope)s::text IS NULL OR scope = %(scope)s)
  AND (%(window_key)s::text IS NULL OR window_key = %(window_key)s
       OR starts_with(window_key, %(window_key)s || '/'))
  AND (%(rule)s::text IS NULL OR rule = %(rule)s)
  AND (%(load_id)s::bigint IS NULL OR load_id = %(load_id)s)
