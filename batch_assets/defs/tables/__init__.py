"""Table-to-table transfers as Dagster assets, one per transfer."""
