-- Counts of one part, added to those of the parts before it; and dead letters of earlier loads that
-- this part has an answer to, whatever day they were met on.
WITH settled AS (
    UPDATE ops.dead_letters
    SET state = 'superseded',
        resolved_at = clock_timestamp()
    WHERE target = %(target)s
      AND scope = %(scope)s
      AND state = 'open'
      AND source_file = ANY (%(settled_files)s)
      AND load_id <> %(load_id)s
)
UPDATE ops.loads
SET rows_read = rows_read + %(read)s,
    rows_inserted = rows_inserted + %(inserted)s,
    rows_updated = rows_updated + %(updated)s,
    rows_unchanged = rows_unchanged + %(unchanged)s,
    rows_duplicate = rows_duplicate + %(duplicate)s,
    rows_rejected = rows_rejected + %(rejected)s,
    rows_skipped = rows_skipped + %(skipped)s,
    rows_deleted = rows_deleted + %(deleted)s
WHERE load_id = %(load_id)s AND state = 'running'
