-- Connections to our database by application, and beside each row those of the whole server.
SELECT
    coalesce(nullif(a.application_name, ''), 'unnamed') AS application,
    count(*)::int AS connections,
    count(*) FILTER (WHERE a.state = 'active')::int AS active,
    count(*) FILTER (WHERE starts_with(a.state, 'idle in transaction'))::int AS idle_in_transaction,
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int AS max_connections,
    (SELECT count(*) FROM pg_stat_activity AS o WHERE o.backend_type = 'client backend')::int AS open
FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.backend_type = 'client backend'
GROUP BY 1
ORDER BY 2 DESC, 1
