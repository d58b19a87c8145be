"""Attacks, and what answers them."""
