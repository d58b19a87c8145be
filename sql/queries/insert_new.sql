WITH added AS (
    INSERT INTO {target} ({columns})
    SELECT {staged_columns}
    FROM {staging} AS s
    WHERE NOT EXISTS (SELECT FROM {target} AS t
                      WHERE {key_match} AND {scope_match} AND {bounds_match}{fence})
    ORDER BY {staged_key}
    RETURNING load_id
)
SELECT load_id, count(*) FROM added GROUP BY load_id
