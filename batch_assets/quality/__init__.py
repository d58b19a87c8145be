"""Verdicts about tables, in SQL: each compares what was promised with what is there."""
