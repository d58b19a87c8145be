"""Assets whose backfills the ledger can follow: a partition of theirs is one window of one scope.

Files of spreadsheets and shards of devices are no windows of a day: what became of a day of theirs
is in Dagster and in the run's log.
"""

from batch_assets.runs.backfill_adoption import TrackedAsset
from batch_assets.settings import Settings
from batch_assets.sources.market.feed import build_feeds
from batch_assets.sources.tables.transfer import build_transfers

# What loads of daily bars and of transfers are recorded under. Their contracts say so, too, and
# would bring pyarrow, 56 MB, into the code server; a test compares.
_BARS = "market.daily_bars"
_NO_SCOPE = ""


def tracked_assets(settings: Settings) -> dict[str, TrackedAsset]:
    """Daily bars of each feed and the transfers that are loaded day by day, by asset key."""
    bars = [
        TrackedAsset(f"market/{feed.name}/daily_bars", feed.name, _BARS, feed.source_name)
        for feed in build_feeds(settings.section("market"), settings.config_dir).values()
    ]
    transfers = [
        # A feed may have the same name, and a pause of it is not about the transfer.
        TrackedAsset(f"tables/{item.name}", f"tables/{item.name}", item.target, _NO_SCOPE)
        for item in build_transfers(settings.section("tables")).values()
        if item.window_column
    ]
    return {asset.asset_key: asset for asset in [*bars, *transfers]}
