-- Corrected records whose device and time a load after the one that read them has written.
SELECT s.letter_id
FROM unnest(%(ids)s::bigint[], %(load_ids)s::bigint[], %(devices)s::text[], %(moments)s::timestamptz[])
     AS s (letter_id, load_id, device_sn, moment)
JOIN {table} AS t ON t.device_sn = s.device_sn AND t.{moment} = s.moment
WHERE t.load_id > s.load_id
ORDER BY s.letter_id
