"""Metrics, alert rules and channels, read from PostgreSQL."""
