-- The last row of a file that is committed for each bucket; buckets without any are absent.
SELECT bucket, max(p.last_row)
FROM devices.file_progress AS p
CROSS JOIN unnest(p.buckets) AS bucket
WHERE p.file_id = %(file_id)s
GROUP BY bucket
