-- What a feed's days and calls took lately: the median of rows a day, and seconds a unit of work,
-- which is a call of a vendor or a day of files.
SELECT (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY r.row_count)
        FROM (SELECT k.row_count
              FROM ops.windows AS k
              WHERE k.target = %(target)s AND k.scope = %(scope)s AND k.starts_at IS NOT NULL
              ORDER BY k.window_key DESC
              LIMIT 20) AS r) AS rows_a_day,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY s.unit_seconds) AS unit_seconds,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY s.unit_seconds) AS unit_seconds_p90
FROM (SELECT p.seconds
             / CASE WHEN p.route = 'files' THEN p.windows_needed ELSE p.made_calls END AS unit_seconds
      FROM ops.plans AS p
      WHERE p.target = %(target)s
        AND p.scope = %(scope)s
        AND p.route = %(route)s
        AND p.finished_at IS NOT NULL
        AND CASE WHEN p.route = 'files' THEN p.windows_needed ELSE p.made_calls END > 0
      ORDER BY p.plan_id DESC
      LIMIT 50) AS s
