"""The outside world as Arrow batches, one package per domain."""
