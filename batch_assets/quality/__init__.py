"""Verdicts about tables, in SQL."""
