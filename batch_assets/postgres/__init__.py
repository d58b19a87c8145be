"""PostgreSQL: connections, names, locks, migrations, the embedded server. Knows nothing of our data."""
