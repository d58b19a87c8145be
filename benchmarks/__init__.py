"""Measurements against public tools; `python -m benchmarks`."""
