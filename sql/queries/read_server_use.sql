-- What the database server and the runs on it use now.
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
           AS connections,
       current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int AS connections_max,
       pg_database_size(current_database()) AS database_bytes,
       (SELECT count(*) FROM ops.leases) AS leases,
       (SELECT count(*) FROM ops.leases WHERE expires_at < clock_timestamp()) AS leases_expired,
       (SELECT count(*) FROM ops.run_workers WHERE stage = 'working') AS run_workers
