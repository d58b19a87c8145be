-- Weeks of one device: as many records as devices.records has. Device by device, because only an
-- equality with a constant is pushed below the full joins of the views.
WITH counted AS (
    SELECT date_trunc('week', r.measured_at AT TIME ZONE 'UTC')::date AS week,
           count(*) AS record_count
    FROM devices.records AS r
    WHERE r.device_sn = %(device_sn)s
    GROUP BY 1
), kept AS (
    SELECT w.week, w.record_count
    FROM devices.weekly AS w
    WHERE w.device_sn = %(device_sn)s
)
SELECT
    count(*) AS weeks,
    count(*) FILTER (WHERE coalesce(c.record_count, 0) <> coalesce(k.record_count, 0)) AS differing
FROM counted AS c
FULL JOIN kept AS k ON k.week = c.week
