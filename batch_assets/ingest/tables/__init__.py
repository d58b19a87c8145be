"""Rows of a table or query of one server into a table of another."""
