"""The HTTP API: a thin front on ops, without SQL and without rules of its own."""
