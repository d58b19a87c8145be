"""Names of concurrency pools; their limits are in dagster.yaml.

Pools hold for every run of one Dagster storage, `dagster job execute` included. They shape load;
that two writers never publish one window is the lease's work.
"""

POSTGRES_WRITE = "postgres_write"
