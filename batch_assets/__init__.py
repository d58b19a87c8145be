"""Bulk loading into PostgreSQL under Dagster that accounts for every row."""

__version__ = "0.1.0"
