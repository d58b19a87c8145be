SELECT s.source_file, s.row_number, {staged_columns}
FROM {staging} AS s
JOIN repeated_keys AS t ON {key_match}
WHERE t.is_conflict
ORDER BY s.chunk_no, s.row_number
