-- Rows that find_changed has found. An address may be another row's by now: the key is compared too.
WITH changed AS (
    UPDATE {target} AS t
    SET {assignments}
    FROM (SELECT s.*, found.place, found.part
          FROM unnest(%(staged)s::tid[], %(places)s::tid[], %(parts)s::oid[])
               AS found (staged, place, part)
          JOIN {staging} AS s ON s.ctid = found.staged
          OFFSET 0) AS s
    WHERE t.ctid = s.place AND t.tableoid = s.part
      AND {key_match} AND {scope_match} AND {bounds_match} AND NOT ({is_same})
    RETURNING s.load_id
)
SELECT load_id, count(*) FROM changed GROUP BY load_id
