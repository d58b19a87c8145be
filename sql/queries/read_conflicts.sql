SELECT s.place_file, s.place_sheet, s.place_row, {staged_columns}
FROM {staging} AS s
JOIN repeated_keys AS t ON {key_match}
WHERE t.is_conflict
ORDER BY s.chunk_no, s.place_row
