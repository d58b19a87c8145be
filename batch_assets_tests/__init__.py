"""Tests of batch_assets; the tree mirrors the package, scenarios cross it."""
