-- A schema of the user's own: the loader makes and writes its tables, the others read them.
CREATE SCHEMA IF NOT EXISTS {schema};
GRANT USAGE, CREATE ON SCHEMA {schema} TO {loader};
GRANT USAGE ON SCHEMA {schema} TO {reader}, {api};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {loader};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}, {api};
ALTER DEFAULT PRIVILEGES FOR ROLE {loader} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader}, {api};
