"""Backfills as operators see them: launch, follow, pause, retry. No Dagster, no printing."""
