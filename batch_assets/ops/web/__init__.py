"""The status page: HTML for browsers, a thin front on ops, without SQL and without rules."""
