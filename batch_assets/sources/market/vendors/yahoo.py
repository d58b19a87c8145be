"""Yahoo's chart service, by symbol: best effort, off unless a feed names it.

Not a documented interface: it limits, changes and fails without notice. Prices are adjusted for
splits, so the default of such a feed is `prices = "qfq"`. The wire is described in the reply's own
`meta`.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from batch_assets.errors import SourceUnavailable, UnknownSymbol, UnreadableSource
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.vendors.asking import ask
from batch_assets.sources.market.vendors.http import HttpCaller
from batch_assets.sources.market.vendors.replies import (
    fetched_rows,
    read_json,
    require_list,
    require_mapping,
)
from batch_assets.sources.market.vendors.vendor import Fetched, VendorAccess, VendorKind

_PRICES = ("open", "high", "low", "close", "volume")
_SUFFIXES = {"US": "", "SH": ".SS"}
_NOT_FOUND = 404


class YahooVendor:
    """Asks Yahoo; each symbol and range is one request."""

    def __init__(self, feed: VendorFeed, access: VendorAccess) -> None:
        self._feed = feed
        self._access = access
        self._http = HttpCaller(feed, access)

    def fetch_symbol(self, symbol: str, start: date, end: date) -> Fetched:
        """See AnswersSymbols."""
        label = f"yahoo {symbol} {start} to {end}"
        return ask(
            self._feed, self._access.throttle, lambda: self._ask_once(symbol, start, end, label)
        )

    def close(self) -> None:
        """See Vendor."""
        self._http.close()

    def _ask_once(self, symbol: str, start: date, end: date, label: str) -> Fetched:
        # A day more on both sides: the range is in UTC, and sessions are in the exchange's zone.
        begin = datetime.combine(start - timedelta(days=1), time.min, tzinfo=UTC)
        finish = datetime.combine(end + timedelta(days=2), time.min, tzinfo=UTC)
        reply = self._http.get(
            f"/v8/finance/chart/{_own_spelling(symbol)}",
            params={
                "period1": str(int(begin.timestamp())),
                "period2": str(int(finish.timestamp())),
                "interval": "1d",
                "includePrePost": "False",
            },
            understood=frozenset({_NOT_FOUND}),
        )
        chart = require_mapping(
            require_mapping(read_json(reply.body, label), label).get("chart"), label
        )
        if chart.get("error"):
            error = require_mapping(chart["error"], label)
            seen = f"{label}: {error.get('code')}, {error.get('description')}"
            if reply.status == _NOT_FOUND or error.get("code") == "Not Found":
                raise UnknownSymbol(f"{seen}; expected a symbol Yahoo knows; correct symbols")
            raise SourceUnavailable(f"{seen}; expected a chart; run the partition again later")
        results = require_list(chart.get("result"), label)
        if not results:
            raise UnreadableSource(f"{label}: a chart without a result; expected one")
        rows = _rows(require_mapping(results[0], label), symbol, label)
        wanted = [row for row in rows if start.isoformat() <= row[1] <= end.isoformat()]
        return fetched_rows(label, ("symbol", "date", *_PRICES), wanted)


def _rows(result: Mapping[str, Any], symbol: str, label: str) -> list[list[Any]]:
    meta = require_mapping(result.get("meta"), label)
    try:
        zone = ZoneInfo(str(meta.get("exchangeTimezoneName")))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UnreadableSource(
            f"{label}: exchangeTimezoneName is {meta.get('exchangeTimezoneName')!r}, expected the "
            "name of a time zone"
        ) from error
    stamps = result.get("timestamp") or []
    indicators = require_mapping(result.get("indicators"), label)
    quotes = require_list(indicators.get("quote"), label)
    quote = require_mapping(quotes[0] if quotes else {}, label)
    columns = [quote.get(name) or [None] * len(stamps) for name in _PRICES]
    if any(len(column) != len(stamps) for column in columns):
        raise UnreadableSource(
            f"{label}: arrays of different lengths; expected one value a session"
        )
    return [
        [symbol, datetime.fromtimestamp(int(stamp), zone).date().isoformat(), *cells]
        for stamp, *cells in zip(stamps, *columns, strict=True)
        # All null is how Yahoo writes that it has no bar.
        if any(cell is not None for cell in cells)
    ]


def _own_spelling(symbol: str) -> str:
    """`BRK.B.US` as `BRK-B`, `600000.SH` as `600000.SS`."""
    code, _, exchange = symbol.rpartition(".")
    return code.replace(".", "-") + _SUFFIXES.get(exchange, f".{exchange}")


VENDOR = VendorKind(
    vendor=YahooVendor,
    open=YahooVendor,
    columns={"symbol": "symbol", "date": "date", **{name: name for name in _PRICES}},
    defaults={
        "base_url": "https://query1.finance.yahoo.com",
        "calendar": "XNYS",
        "date_format": "iso",
        "prices": "qfq",
    },
)
