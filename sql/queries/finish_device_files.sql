-- Done when all 256 buckets have come to the last row, whoever wrote them and by which map. Buckets
-- are looked at one by one only where there are enough of them.
UPDATE devices.files AS f
SET state = 'done',
    finished_at = clock_timestamp()
FROM (
    SELECT ended.file_id, ended.last_row
    FROM unnest(%(file_ids)s::bigint[], %(last_rows)s::bigint[]) AS ended (file_id, last_row)
    JOIN devices.file_progress AS p USING (file_id)
    WHERE p.last_row >= ended.last_row
    GROUP BY ended.file_id, ended.last_row
    HAVING sum(cardinality(p.buckets)) >= 256
    OFFSET 0
) AS reached
WHERE f.file_id = reached.file_id
  AND f.state = 'waiting'
  AND (
      SELECT count(DISTINCT bucket)
      FROM devices.file_progress AS p
      CROSS JOIN unnest(p.buckets) AS bucket
      WHERE p.file_id = reached.file_id AND p.last_row >= reached.last_row) = 256
