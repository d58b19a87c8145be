-- Keys that were staged more than once, with whether all copies agree. Values are compared for
-- those keys alone: over all rows it would sort the whole window by every column.
CREATE TEMP TABLE repeated_keys ON COMMIT DROP AS
WITH t AS (
    SELECT {key}
    FROM {staging}
    GROUP BY {key}
    HAVING count(*) > 1
)
SELECT {staged_key}, count(DISTINCT ROW({staged_values})) > 1 AS is_conflict, count(*) AS copies
FROM {staging} AS s
JOIN t ON {key_match}
GROUP BY {staged_key}
