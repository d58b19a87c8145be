"""EODHD: all symbols of an exchange and a day in one request, for more than 60 exchanges.

Wire: GET the bulk address with the token in the query. Prices are raw; `adjusted_close` is left
out. Documentation: https://eodhd.com/financial-apis/bulk-api-eod-splits-dividends.
"""

from datetime import date

from batch_assets.errors import SourceUnavailable
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.vendors.asking import ask
from batch_assets.sources.market.vendors.http import HttpCaller
from batch_assets.sources.market.vendors.replies import (
    fetched_records,
    read_json,
    require_list,
)
from batch_assets.sources.market.vendors.vendor import Fetched, VendorAccess, VendorKind

_MEMBERS = ("code", "date", "open", "high", "low", "close", "volume")


class EodhdVendor:
    """Asks EODHD; each question is one request."""

    def __init__(self, feed: VendorFeed, access: VendorAccess) -> None:
        self._feed = feed
        self._access = access
        self._http = HttpCaller(feed, access)

    def fetch_day(self, day: date) -> Fetched:
        """See AnswersDays."""
        label = f"eodhd {self._feed.exchange} {day}"
        token = self._access.token(self._feed)
        return ask(self._feed, self._access.throttle, lambda: self._ask_once(day, token, label))

    def close(self) -> None:
        """See Vendor."""
        self._http.close()

    def _ask_once(self, day: date, token: str, label: str) -> Fetched:
        reply = self._http.get(
            f"/api/eod-bulk-last-day/{self._feed.exchange}",
            params={"date": day.isoformat(), "fmt": "json", "api_token": token},
        )
        answer = read_json(reply.body, label)
        if isinstance(answer, dict):  # an error in a body with status 200
            said = answer.get("message") or answer.get("error") or answer.get("errors") or answer
            raise SourceUnavailable(
                f"{label}: {str(said)[:160]!r} in place of rows; check exchange of feed "
                f"{self._feed.name} and the token's plan, then run the partition again"
            )
        return fetched_records(label, _MEMBERS, require_list(answer, label))


VENDOR = VendorKind(
    vendor=EodhdVendor,
    open=EodhdVendor,
    columns={"symbol": "code", **{name: name for name in _MEMBERS[1:]}},
    defaults={
        "base_url": "https://eodhd.com",
        "token_env": "EODHD_API_TOKEN",
        "exchange": "US",
        "calendar": "XNYS",
        "symbol": {"exchange": "US"},
        "date_format": "iso",
        # Bulk files of US exchanges are complete some hours after the close.
        "ready_after_minutes": 180,
    },
)
