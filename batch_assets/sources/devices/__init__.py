"""Records of many devices: their files, their contract, and which shard they belong to."""
