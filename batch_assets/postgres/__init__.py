"""PostgreSQL: connections, names, migrations, the embedded server. Knows nothing of our data."""
