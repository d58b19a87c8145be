WITH changed AS (
    UPDATE {target} AS t
    SET {assignments}
    FROM {staging} AS s
    WHERE {key_match} AND {scope_match} AND {bounds_match} AND NOT ({is_same})
    RETURNING s.load_id
)
SELECT load_id, count(*) FROM changed GROUP BY load_id
