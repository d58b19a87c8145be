"""Daily bars as Dagster assets, one per feed."""
