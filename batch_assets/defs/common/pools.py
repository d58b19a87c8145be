"""Names of concurrency pools; their limits are in dagster.yaml.

Pools hold for every run of one Dagster storage, `dagster job execute` included. They shape load;
that two writers never publish one window is the lease's work.
"""

POSTGRES_WRITE = "postgres_write"

# Slots of a vendor's pool; all of its feeds share it. The default limit of dagster.yaml holds until
# a person sets another: `dagster instance concurrency set vendor_baostock 1`.
VENDOR = "vendor_"
