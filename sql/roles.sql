-- Four roles, each with no more than its work needs. `batch-assets db roles` runs this after
-- `batch-assets db migrate`, as the role that migrated or as an administrator, and again after every
-- upgrade; a second run changes nothing. By hand:
--
--     psql --set ON_ERROR_STOP=1 --single-transaction --file sql/roles.sql "$BATCH_ASSETS_DATABASE_URL"
--
-- No superuser is needed: CREATEROLE and owning the database are enough. The roles are made without
-- a password, so that nobody can sign in with one before it is set.
SET LOCAL client_min_messages = warning;

DO $$
DECLARE
    wanted text;
    is_new boolean;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['batch_assets_owner', 'batch_assets_loader',
                                  'batch_assets_reader', 'batch_assets_api'] LOOP
        is_new := NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
        IF is_new THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', wanted);
        END IF;
        -- Whoever hands objects over has to be able to become who gets them; a superuser can. From
        -- PostgreSQL 16 on making a role allows to grant it, and not yet to become it.
        IF wanted IN ('batch_assets_owner', 'batch_assets_loader')
           AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            EXECUTE format('GRANT %I TO %I', wanted, current_user);
        END IF;
        -- Names in statements of ours carry their schema; nothing is found by accident.
        EXECUTE format('ALTER ROLE %I SET search_path = pg_catalog', wanted);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO batch_assets_owner, batch_assets_loader, '
                   'batch_assets_reader, batch_assets_api', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO batch_assets_owner', current_database());
    -- Small windows are compared in temporary tables.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO batch_assets_owner, batch_assets_loader, '
                   'batch_assets_api', current_database());
END
$$;

-- Loads send their own limits ([database]); these hold for whoever does not.
ALTER ROLE batch_assets_owner SET lock_timeout = '10s';
ALTER ROLE batch_assets_owner SET idle_in_transaction_session_timeout = '10min';
ALTER ROLE batch_assets_loader SET statement_timeout = '1h';
ALTER ROLE batch_assets_loader SET lock_timeout = '30s';
ALTER ROLE batch_assets_loader SET idle_in_transaction_session_timeout = '10min';
ALTER ROLE batch_assets_reader SET statement_timeout = '5min';
ALTER ROLE batch_assets_reader SET lock_timeout = '5s';
ALTER ROLE batch_assets_reader SET idle_in_transaction_session_timeout = '1min';
ALTER ROLE batch_assets_reader SET default_transaction_read_only = on;
ALTER ROLE batch_assets_api SET statement_timeout = '1min';
ALTER ROLE batch_assets_api SET lock_timeout = '5s';
ALTER ROLE batch_assets_api SET idle_in_transaction_session_timeout = '1min';

-- The owner has what migrations make; staging tables belong to who loads.
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT n.nspname FROM pg_namespace AS n
                WHERE n.nspname IN ('market', 'documents', 'devices', 'ops', 'staging')
                  AND n.nspowner <> 'batch_assets_owner'::regrole LOOP
        EXECUTE format('ALTER SCHEMA %I OWNER TO batch_assets_owner', item.nspname);
    END LOOP;
    GRANT USAGE, CREATE ON SCHEMA staging TO batch_assets_loader;
    FOR item IN
        SELECT c.oid::regclass AS name,
               CASE n.nspname WHEN 'staging' THEN 'batch_assets_loader'
                              ELSE 'batch_assets_owner' END AS owner
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('market', 'documents', 'devices', 'ops', 'staging')
          AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
          AND pg_get_userbyid(c.relowner) <> CASE n.nspname WHEN 'staging' THEN 'batch_assets_loader'
                                                            ELSE 'batch_assets_owner' END
          -- The sequence of an identity column goes with its table.
          AND NOT EXISTS (SELECT FROM pg_depend AS d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                            AND c.relkind = 'S' AND d.deptype IN ('a', 'i')) LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %I', item.name, item.owner);
    END LOOP;
    FOR item IN
        SELECT p.oid::regprocedure AS name
        FROM pg_proc AS p
        JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname IN ('market', 'documents', 'devices', 'ops')
          AND p.proowner <> 'batch_assets_owner'::regrole LOOP
        EXECUTE format('ALTER ROUTINE %s OWNER TO batch_assets_owner', item.name);
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA market, documents, devices, ops
    TO batch_assets_loader, batch_assets_reader, batch_assets_api;
GRANT SELECT ON ALL TABLES IN SCHEMA market, documents, devices, ops
    TO batch_assets_loader, batch_assets_reader, batch_assets_api;

GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA market, documents, devices, ops
    TO batch_assets_loader;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA market, documents, devices, ops TO batch_assets_loader;

-- What was done stays as it was written; retention deletes what is old.
REVOKE UPDATE ON ops.audit FROM batch_assets_loader;
REVOKE INSERT, UPDATE, DELETE ON ops.schema_migrations FROM batch_assets_loader;
-- Hashes of tokens and sessions are the API's business alone.
REVOKE ALL ON ops.api_tokens, ops.browser_sessions FROM batch_assets_loader, batch_assets_reader;

-- Rows as their sources wrote them: readers have ops.masked_dead_letters, without personal values.
REVOKE SELECT ON ops.dead_letters FROM batch_assets_reader, batch_assets_api;
GRANT SELECT (dead_letter_id, fingerprint, load_id, read_load_id, target, scope, window_key,
              source_file, row_number, rule, violations, personal, state, seen_count, first_seen_at,
              last_seen_at, resolved_at, answered_by, answered_at, answered_from, answer_load_id,
              resolution) ON ops.dead_letters TO batch_assets_reader, batch_assets_api;

GRANT INSERT ON ops.audit, ops.backfills, ops.backfill_partitions, ops.browser_sessions,
    ops.paused_feeds, ops.alerts, ops.alert_messages, documents.uploads, documents.upload_files,
    documents.files, devices.inbox TO batch_assets_api;
GRANT UPDATE ON ops.backfills, ops.backfill_runs, ops.backfill_segments, ops.alerts,
    ops.alert_messages, ops.alert_clock, documents.uploads, documents.upload_files
    TO batch_assets_api;
GRANT DELETE ON ops.browser_sessions, ops.paused_feeds, ops.alerts TO batch_assets_api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA ops, documents, devices TO batch_assets_api;

-- Dagster's own tables belong to who runs Dagster; the API reads how its runs are.
DO $$
DECLARE
    item record;
BEGIN
    CREATE SCHEMA IF NOT EXISTS dagster;
    ALTER SCHEMA dagster OWNER TO batch_assets_loader;
    FOR item IN SELECT c.oid::regclass AS name FROM pg_class AS c
                WHERE c.relnamespace = 'dagster'::regnamespace AND c.relkind = 'r'
                  AND c.relowner <> 'batch_assets_loader'::regrole LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO batch_assets_loader', item.name);
    END LOOP;
END
$$;
GRANT USAGE ON SCHEMA dagster TO batch_assets_api;
GRANT SELECT ON ALL TABLES IN SCHEMA dagster TO batch_assets_api;
ALTER DEFAULT PRIVILEGES FOR ROLE batch_assets_loader IN SCHEMA dagster
    GRANT SELECT ON TABLES TO batch_assets_api;
