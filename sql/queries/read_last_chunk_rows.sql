-- The chunk size that the newest large load of this table and scope ended with.
SELECT (metrics ->> 'last_chunk_rows')::integer
FROM ops.loads
WHERE target = %(target)s AND scope = %(scope)s AND metrics ? 'last_chunk_rows'
ORDER BY load_id DESC
LIMIT 1
