-- Arrival days up to one, with files that a load has ended since a moment, or left.
SELECT
    f.arrival_day AS day,
    count(*) FILTER (WHERE f.state = 'done') AS done,
    count(*) FILTER (WHERE f.state = 'waiting') AS waiting,
    count(*) FILTER (WHERE f.state = 'failed') AS failed,
    sum(f.size_bytes)::bigint AS size_bytes,
    coalesce(array_agg(f.path || ': ' || f.reason ORDER BY f.file_id) FILTER (WHERE f.state = 'failed'), '{}') AS reasons
FROM devices.files AS f
WHERE (f.state = 'waiting' OR f.finished_at >= %(since)s)
  AND f.arrival_day <= %(until)s
GROUP BY 1
ORDER BY 1
