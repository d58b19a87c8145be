-- Rows that the loads of a backfill rejected, one line for each broken rule, by partition and row.
SELECT d.window_key, d.source_file, d.row_number, v.item ->> 'rule' AS rule,
       v.item ->> 'column' AS "column", v.item ->> 'observed' AS observed,
       v.item ->> 'expected' AS expected, v.item ->> 'hint' AS hint, d.state
FROM ops.backfill_outcomes AS o
JOIN ops.dead_letters AS d ON d.load_id = o.load_id
CROSS JOIN LATERAL jsonb_array_elements(d.violations) WITH ORDINALITY AS v (item, number)
WHERE o.backfill_id = %s
ORDER BY o.position, d.source_file, d.row_number, v.number
