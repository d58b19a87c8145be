"""Records of devices as Dagster assets: one step writes them, shards are its workers."""
