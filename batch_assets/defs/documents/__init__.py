"""Documents for Dagster: assets, checks, sensors and schedules of the configured sources."""
