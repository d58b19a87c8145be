"""Names that assets, checks, jobs and sensors of devices share."""

import dagster as dg

RECORDS = dg.AssetKey(["devices", "records"])
DAILY = dg.AssetKey(["devices", "daily"])
WEEKLY = dg.AssetKey(["devices", "weekly"])
LATEST = dg.AssetKey(["devices", "latest"])
KEYS = (RECORDS, DAILY, WEEKLY, LATEST)

STEP = "devices"
JOB = "device_load"

# On jobs and runs: dagster.yaml lets one of them run at a time, since all of them write all shards.
LOAD_TAG = "batch_assets/devices"
LOAD_TAG_VALUE = "load"

# One slot for each run that writes shards, of which it opens two connections each.
POOL = "device_shards"
