"""Arrow batches to rows: the only package that writes data."""
