"""What the domains of this package share: partitions, pools, resources, retries."""
