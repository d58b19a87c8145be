INSERT INTO devices.file_progress AS p (file_id, map_version, shard, buckets, last_row)
SELECT file_id, %(map_version)s, %(shard)s, %(buckets)s::smallint[], last_row
FROM unnest(%(file_ids)s::bigint[], %(last_rows)s::bigint[]) AS t (file_id, last_row)
ON CONFLICT (file_id, map_version, shard) DO UPDATE SET last_row = excluded.last_row
