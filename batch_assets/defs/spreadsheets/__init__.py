"""Spreadsheets in Dagster: an asset for each template, the loop of corrections, checks."""
