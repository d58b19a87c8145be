"""Eastmoney's kline service, by symbol: best effort, off unless a feed names it.

Not a documented interface; it bans addresses that ask much (akshare #7402). Volumes are lots,
amounts yuan. An unknown symbol and a ban look the same: `data` is null.
"""

from datetime import date

from batch_assets.errors import SourceUnavailable, UnknownSymbol
from batch_assets.sources.market.feed import Adjustment, VendorFeed
from batch_assets.sources.market.vendors.asking import ask
from batch_assets.sources.market.vendors.http import HttpCaller
from batch_assets.sources.market.vendors.replies import (
    fetched_rows,
    read_json,
    require_list,
    require_mapping,
)
from batch_assets.sources.market.vendors.vendor import Fetched, VendorAccess, VendorKind

# Names of f51 to f57, in the vendor's order; f58 to f61 are ratios that can be computed.
_KLINE = ("date", "open", "close", "high", "low", "volume", "amount")
_FIELDS = ",".join(f"f{number}" for number in range(51, 58))
_FQT = {Adjustment.RAW: "0", Adjustment.QFQ: "1", Adjustment.HFQ: "2"}


class EastmoneyVendor:
    """Asks Eastmoney; each symbol and range is one request."""

    def __init__(self, feed: VendorFeed, access: VendorAccess) -> None:
        self._feed = feed
        self._access = access
        self._http = HttpCaller(feed, access)

    def fetch_symbol(self, symbol: str, start: date, end: date) -> Fetched:
        """See AnswersSymbols."""
        label = f"eastmoney {symbol} {start} to {end}"
        return ask(
            self._feed, self._access.throttle, lambda: self._ask_once(symbol, start, end, label)
        )

    def close(self) -> None:
        """See Vendor."""
        self._http.close()

    def _ask_once(self, symbol: str, start: date, end: date, label: str) -> Fetched:
        code, _, exchange = symbol.rpartition(".")
        reply = self._http.get(
            "/api/qt/stock/kline/get",
            params={
                # By the exchange, not by the first digit: B-shares 900xxx are in Shanghai too.
                "secid": f"{1 if exchange == 'SH' else 0}.{code}",
                "klt": "101",
                "fqt": _FQT[self._feed.prices],
                "beg": f"{start:%Y%m%d}",
                "end": f"{end:%Y%m%d}",
                "fields1": "f1,f2,f3,f4,f5,f6",
                "fields2": _FIELDS,
            },
        )
        answer = require_mapping(read_json(reply.body, label), label)
        if "rc" not in answer:
            raise SourceUnavailable(f"{label}: an answer without rc; run the partition again later")
        if answer.get("data") is None:
            raise UnknownSymbol(
                f"{label}: rc {answer.get('rc')} without data; expected bars; the symbol is "
                "unknown, or this address is banned for a while"
            )
        klines = require_list(require_mapping(answer["data"], label).get("klines"), label)
        rows = [[symbol, *str(line).split(",")] for line in klines]
        return fetched_rows(label, ("symbol", *_KLINE), rows)


VENDOR = VendorKind(
    vendor=EastmoneyVendor,
    open=EastmoneyVendor,
    columns={"symbol": "symbol", **{name: name for name in _KLINE}},
    defaults={
        "base_url": "https://push2his.eastmoney.com",
        "calendar": "XSHG",
        "symbol": {"style": "cn"},
        "date_format": "iso",
        "volume_unit": "lot",
    },
)
