"""Assets whose backfills the ledger can follow: a partition of theirs is one window of one scope.

Files of spreadsheets and shards of devices are no windows of a day: what became of a day of theirs
is in Dagster and in the run's log.
"""

from batch_assets.runs.backfill_adoption import TrackedAsset
from batch_assets.settings import Settings
from batch_assets.sources.documents.sources import read_document_sources
from batch_assets.sources.market.feed import build_feeds
from batch_assets.sources.tables.transfer import build_transfers

# What loads are recorded under. Their contracts say so, too, and would bring pyarrow, 56 MB, into
# the code server; tests compare.
_BARS = "market.daily_bars"
_DOCUMENTS = "documents.documents"
_NO_SCOPE = ""


def tracked_assets(settings: Settings) -> dict[str, TrackedAsset]:
    """Daily bars of each feed, documents, and transfers of days, by asset key."""
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
    documents = [
        TrackedAsset(
            f"documents/{name}/documents",
            f"documents/{name}",
            _DOCUMENTS,
            name,
            frozenset({f"documents/{name}/chunks"}),
        )
        for name in read_document_sources(settings)
    ]
    return {asset.asset_key: asset for asset in [*bars, *transfers, *documents]}
