"""Vendors of market data, asked over the network; one file a vendor."""
