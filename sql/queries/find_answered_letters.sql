-- Files of open dead letters whose row is among the staged ones now: it was corrected.
SELECT DISTINCT d.source_file
FROM ops.dead_letters AS d
JOIN {staging} AS s ON {is_same_key}
WHERE d.target = %(target)s
  AND d.scope = %(scope)s
  AND d.window_key = %(window_key)s
  AND d.state = 'open'
