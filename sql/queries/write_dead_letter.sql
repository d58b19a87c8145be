-- A row that is read again is as its source says again: what was tried meanwhile does not count.
INSERT INTO ops.dead_letters AS known (fingerprint, load_id, read_load_id, target, scope, window_key,
                                       source_file, row_number, rule, violations, original, layout, personal)
VALUES (%(fingerprint)s, %(load_id)s, %(load_id)s, %(target)s, %(scope)s, %(window_key)s,
        %(source_file)s, %(row_number)s, %(rule)s, %(violations)s, %(original)s, %(layout)s,
        %(personal)s)
ON CONFLICT (target, scope, window_key, fingerprint) WHERE state = 'open' DO UPDATE
SET load_id = excluded.load_id,
    read_load_id = excluded.read_load_id,
    violations = excluded.violations,
    rule = excluded.rule,
    layout = excluded.layout,
    personal = excluded.personal,
    corrected = NULL,
    seen_count = known.seen_count + 1,
    last_seen_at = clock_timestamp()
