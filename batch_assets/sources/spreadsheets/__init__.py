"""Workbooks and delimited exports of business users, as typed Arrow batches."""
