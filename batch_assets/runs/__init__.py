"""Dagster runs: storage, launching, watching, repairing. The one door to Dagster below defs and ops."""
