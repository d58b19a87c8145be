"""Dagster runs: storage, launching, watching. The one door to Dagster below defs and ops."""
