"""Daily bars from files and vendors, as Arrow batches."""
