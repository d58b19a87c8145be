INSERT INTO ops.checkpoints (resource, chunk_no, source_hash, contract_version, load_id, staged_rows,
                             rows_read, rows_rejected, rows_skipped, position, broken_rules)
VALUES (%(resource)s, %(chunk_no)s, %(source_hash)s, %(contract_version)s, %(load_id)s,
        %(staged_rows)s, %(rows_read)s, %(rows_rejected)s, %(rows_skipped)s, %(position)s,
        %(broken_rules)s)
