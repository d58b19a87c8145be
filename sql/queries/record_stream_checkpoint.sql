-- One row for a stream, however many parts it has: the last part that is committed.
WITH known AS (
    UPDATE ops.checkpoints
    SET chunk_no = %(part_no)s,
        contract_version = %(contract_version)s,
        rows_read = CASE WHEN load_id = %(load_id)s THEN rows_read ELSE 0 END + %(rows_read)s,
        rows_rejected = CASE WHEN load_id = %(load_id)s THEN rows_rejected ELSE 0 END + %(rows_rejected)s,
        rows_skipped = CASE WHEN load_id = %(load_id)s THEN rows_skipped ELSE 0 END + %(rows_skipped)s,
        load_id = %(load_id)s,
        position = %(position)s,
        committed_at = clock_timestamp()
    WHERE resource = %(resource)s
    RETURNING 1
)
INSERT INTO ops.checkpoints (resource, chunk_no, source_hash, contract_version, load_id, staged_rows,
                             rows_read, rows_rejected, rows_skipped, position)
SELECT %(resource)s, %(part_no)s, '', %(contract_version)s, %(load_id)s, 0, %(rows_read)s,
       %(rows_rejected)s, %(rows_skipped)s, %(position)s
WHERE NOT EXISTS (SELECT FROM known)
