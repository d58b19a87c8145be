INSERT INTO devices.file_progress AS p (file_id, map_version, shard, buckets, last_row)
VALUES (%(file_id)s, %(map_version)s, %(shard)s, %(buckets)s, %(last_row)s)
ON CONFLICT (file_id, map_version, shard) DO UPDATE SET last_row = excluded.last_row
