-- What the current role lacks to make the four roles and to hand over to them, in words.
SELECT 'CREATEROLE'
FROM pg_roles AS r
WHERE r.rolname = current_user
  AND NOT r.rolsuper
  AND NOT r.rolcreaterole
UNION ALL
SELECT format('ownership of database %%I, which belongs to %%I', d.datname, pg_get_userbyid(d.datdba))
FROM pg_database AS d
WHERE d.datname = current_database()
  AND NOT pg_has_role(d.datdba, 'MEMBER')
UNION ALL
SELECT format('ownership of schema %%I, which belongs to %%I', n.nspname, pg_get_userbyid(n.nspowner))
FROM pg_namespace AS n
WHERE n.nspname IN ('market', 'documents', 'devices', 'ops', 'staging', 'dagster')
  AND NOT pg_has_role(n.nspowner, 'MEMBER')
  -- A role that is made already hands itself over.
  AND pg_get_userbyid(n.nspowner) <> ALL (%(names)s::text[])
UNION ALL
SELECT format('schema %%I: run `batch-assets db migrate` first', wanted)
FROM unnest(ARRAY['market', 'documents', 'devices', 'ops', 'staging']) AS wanted
WHERE to_regnamespace(wanted) IS NULL
