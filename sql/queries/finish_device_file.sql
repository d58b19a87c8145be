-- Done when all 256 buckets have come to the last row, whoever wrote them and by which map.
WITH reached AS (
    SELECT bucket
    FROM devices.file_progress AS p
    CROSS JOIN unnest(p.buckets) AS bucket
    WHERE p.file_id = %(file_id)s
    GROUP BY bucket
    HAVING max(p.last_row) >= %(last_row)s
)
UPDATE devices.files
SET state = 'done',
    finished_at = clock_timestamp()
WHERE file_id = %(file_id)s
  AND state = 'waiting'
  AND (SELECT count(*) FROM reached) = 256
