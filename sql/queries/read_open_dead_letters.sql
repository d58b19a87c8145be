-- Open dead letters of a target with the first thing wrong with each, in the order of the files.
SELECT
    source_file,
    row_number,
    rule,
    coalesce(violations -> 0 ->> 'column', '') AS blamed_column,
    violations -> 0 ->> 'observed' AS observed,
    coalesce(violations -> 0 ->> 'expected', '') AS expected,
    original
FROM ops.dead_letters
WHERE target = %(target)s
  AND state = 'open'
ORDER BY window_key, source_file, row_number
