-- Conflicting rows go altogether; of equal copies the first stays.
WITH ranked AS (
    SELECT s.ctid AS row_id,
           t.is_conflict,
           row_number() OVER (PARTITION BY {staged_key} ORDER BY s.chunk_no, s.place_row) AS copy_no
    FROM {staging} AS s
    JOIN repeated_keys AS t ON {key_match}
), removed AS (
    DELETE FROM {staging} AS s
    USING ranked AS r
    WHERE s.ctid = r.row_id AND (r.is_conflict OR r.copy_no > 1)
    RETURNING r.is_conflict
)
SELECT count(*) FILTER (WHERE NOT is_conflict), count(*) FILTER (WHERE is_conflict) FROM removed
