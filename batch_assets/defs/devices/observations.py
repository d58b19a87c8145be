"""What the continuous mode commits, as observations of the asset."""

import dagster as dg

from batch_assets.defs.devices.asset_keys import RECORDS
from batch_assets.ingest.devices.arrivals import SeenBatches


def build_observation(seen: SeenBatches) -> dg.AssetObservation:
    """One observation of all batches since the last look, on the day of the newest."""
    values: dict[str, dg.MetadataValue] = {
        "batches": dg.MetadataValue.int(seen.batches),
        "shards": dg.MetadataValue.int(seen.shards),
        "rows_read": dg.MetadataValue.int(seen.rows_read),
        "rows_inserted": dg.MetadataValue.int(seen.rows_inserted),
        "rows_updated": dg.MetadataValue.int(seen.rows_updated),
        "rows_unchanged": dg.MetadataValue.int(seen.rows_unchanged),
        "rows_duplicate": dg.MetadataValue.int(seen.rows_duplicate),
        "rows_rejected": dg.MetadataValue.int(seen.rows_rejected),
    }
    for name, pair in (("batch", seen.seconds), ("visible", seen.visible_seconds)):
        if pair is not None:
            values[f"{name}_seconds_p50"] = dg.MetadataValue.float(round(pair[0], 4))
            values[f"{name}_seconds_p95"] = dg.MetadataValue.float(round(pair[1], 4))
    if seen.span_seconds:
        values["rows_per_second"] = dg.MetadataValue.float(
            round(seen.rows_read / seen.span_seconds, 1)
        )
    return dg.AssetObservation(
        asset_key=RECORDS,
        partition=seen.newest_at.date().isoformat() if seen.newest_at else None,
        metadata=values,
        description=f"{seen.rows_read} rows in {seen.batches} batches beside Dagster",
    )
