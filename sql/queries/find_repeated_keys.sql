-- Keys that were staged more than once, with whether all copies agree.
CREATE TEMP TABLE repeated_keys ON COMMIT DROP AS
SELECT {key}, count(DISTINCT ROW({values})) > 1 AS is_conflict, count(*) AS copies
FROM {staging}
GROUP BY {key}
HAVING count(*) > 1
