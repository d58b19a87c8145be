"""Names of what a feed has beside its bars, and what depends on what.

instruments, suspensions -> daily_bars -> daily_bars_qfq, daily_bars_hfq <- adjustment_factors
"""

import dagster as dg

from batch_assets.sources.market.feed import Adjustment, Feed, VendorFeed
from batch_assets.sources.market.vendors.registry import kind_of

INSTRUMENTS = "instruments"
SUSPENSIONS = "suspensions"
FACTORS = "adjustment_factors"
VIEWS = ("daily_bars_qfq", "daily_bars_hfq")

_CAPABILITIES = {INSTRUMENTS: "universe", SUSPENSIONS: "suspensions", FACTORS: "factors"}


def reference_names(feed: Feed) -> list[str]:
    """What the feed's vendor can be asked beside bars; nothing for a feed of files."""
    if not isinstance(feed, VendorFeed):
        return []
    known = kind_of(feed.vendor).capabilities
    return [name for name, capability in _CAPABILITIES.items() if capability in known]


def has_views(feed: Feed) -> bool:
    """Whether the feed's raw bars are adjusted by factors of its vendor."""
    return FACTORS in reference_names(feed) and feed.prices is Adjustment.RAW


def reference_key(feed: Feed, name: str) -> dg.AssetKey:
    """`market/<feed>/<name>`."""
    return dg.AssetKey(["market", feed.name, name])


def deps_of_bars(feed: Feed) -> list[dg.AssetKey]:
    """What a day of bars is judged by."""
    names = reference_names(feed)
    return [reference_key(feed, name) for name in (INSTRUMENTS, SUSPENSIONS) if name in names]
