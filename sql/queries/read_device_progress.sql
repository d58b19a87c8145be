-- The last row of each file that is committed for each bucket; what has not begun is absent.
SELECT p.file_id, bucket, max(p.last_row)
FROM devices.file_progress AS p
CROSS JOIN unnest(p.buckets) AS bucket
WHERE p.file_id = ANY (%(file_ids)s)
GROUP BY p.file_id, bucket
