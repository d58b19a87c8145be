"""The vendors of a benchmark as a user's configuration has them."""

from collections.abc import Sequence
from pathlib import Path

from batch_assets.sources.market.feed import Feed, build_feeds
from benchmarks.vendor_process import VendorAddresses

SYMBOL_CONNECTIONS = 8
# Far above what a run asks: the limit is taken and recorded for each question, and never waited on.
_NEVER_LIMITED = 1_000_000


def build_feed(name: str, **settings: object) -> Feed:
    """A vendor's feed as a user's configuration has it."""
    body = {"requests_per_minute": _NEVER_LIMITED, **settings}
    return build_feeds({"feeds": {name: body}}, Path())[name]


def feeds_by_day(vendors: VendorAddresses) -> dict[str, Feed]:
    """Feeds that answer by day."""
    return {
        "tushare": build_feed("tushare", vendor="tushare", base_url=vendors.http),
        "baostock": build_feed(
            "baostock", vendor="baostock", host="127.0.0.1", port=vendors.baostock_port
        ),
        "tushare_with_latency": build_feed("tushare", vendor="tushare", base_url=vendors.http_far),
    }


def feeds_by_symbol(vendors: VendorAddresses, symbols: Sequence[str]) -> dict[str, Feed]:
    """Feeds that answer by symbol, near and far."""
    addresses = {"by_symbol": vendors.http, "by_symbol_with_latency": vendors.http_far}
    return {name: feed_by_symbol(url, symbols) for name, url in addresses.items()}


def feed_by_symbol(base_url: str, symbols: Sequence[str]) -> Feed:
    """A feed that asks symbol by symbol, over several connections."""
    return build_feed(
        "eastmoney",
        vendor="eastmoney",
        base_url=base_url,
        symbols=list(symbols),
        max_connections=SYMBOL_CONNECTIONS,
    )
