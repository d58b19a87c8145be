-- Where the staged rows and the rows of the target are that have the same key and say different things.
SELECT array_agg(s.ctid)::text AS staged, array_agg(t.place)::text AS places,
       array_agg(t.part)::text AS parts
FROM {staging} AS s
JOIN {target_rows} ON {match}
WHERE NOT ({is_same})
