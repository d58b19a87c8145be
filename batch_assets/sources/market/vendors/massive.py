"""Massive (formerly Polygon): all US stocks of a day in one request.

Wire: GET grouped daily aggregates; the token goes into the Authorization header. Volumes may be
fractional, there is no amount. Documentation: https://massive.com/docs.
"""

import re
from datetime import date

from batch_assets.errors import SourceRefused, SourceUnavailable
from batch_assets.sources.market.feed import Adjustment, VendorFeed
from batch_assets.sources.market.vendors.asking import ask
from batch_assets.sources.market.vendors.http import HttpCaller
from batch_assets.sources.market.vendors.replies import (
    fetched_records,
    read_json,
    require_list,
    require_mapping,
)
from batch_assets.sources.market.vendors.vendor import Fetched, VendorAccess, VendorKind

_MEMBERS = ("T", "o", "h", "l", "c", "v", "vw", "t", "n")
# `BACpB` is a preferred share and `BACPB` would be another listing: small letters mark the kind.
_SMALL_LETTERS = re.compile(r"[a-z]+")
# OK, and DELAYED for plans without the newest day.
_GOOD_STATUSES = frozenset({"OK", "DELAYED"})


class MassiveVendor:
    """Asks Massive; each question is one request."""

    def __init__(self, feed: VendorFeed, access: VendorAccess) -> None:
        self._feed = feed
        self._access = access
        self._http = HttpCaller(feed, access)

    def fetch_day(self, day: date) -> Fetched:
        """See AnswersDays."""
        label = f"massive grouped daily {day}"
        token = self._access.token(self._feed)
        return ask(self._feed, self._access.throttle, lambda: self._ask_once(day, token, label))

    def close(self) -> None:
        """See Vendor."""
        self._http.close()

    def _ask_once(self, day: date, token: str, label: str) -> Fetched:
        is_adjusted = self._feed.prices is not Adjustment.RAW
        reply = self._http.get(
            f"/v2/aggs/grouped/locale/us/market/stocks/{day}",
            params={"adjusted": str(is_adjusted).lower(), "include_otc": "false"},
            headers={"Authorization": f"Bearer {token}"},
        )
        answer = require_mapping(read_json(reply.body, label), label)
        status = str(answer.get("status"))
        if status not in _GOOD_STATUSES:
            said = answer.get("error") or answer.get("message") or ""
            seen = f"{label}: status {status}, {said!r}; expected OK"
            if status == "NOT_AUTHORIZED":
                raise SourceRefused(
                    f"{seen}; check the token in {self._feed.token_env} and its plan"
                )
            raise SourceUnavailable(f"{seen}; run the partition again later")
        # A day without trading has no `results` at all.
        results = require_list(answer.get("results", []), label)
        stated = answer.get("resultsCount")
        if stated is not None and stated != str(len(results)):
            raise SourceUnavailable(
                f"{label}: {len(results)} results, but resultsCount is {stated}; the answer is not "
                "whole: run the partition again"
            )
        return fetched_records(label, _MEMBERS, [_with_ticker(record) for record in results])


def _with_ticker(record: object) -> object:
    if not isinstance(record, dict) or not isinstance(record.get("T"), str):
        return record
    return {**record, "T": _SMALL_LETTERS.sub(lambda found: f"-{found[0].upper()}", record["T"])}


VENDOR = VendorKind(
    vendor=MassiveVendor,
    open=MassiveVendor,
    columns={
        "symbol": "T",
        "date": "t",
        "open": "o",
        "high": "h",
        "low": "l",
        "close": "c",
        "volume": "v",
    },
    defaults={
        "base_url": "https://api.massive.com",
        "token_env": "MASSIVE_API_KEY",
        "calendar": "XNYS",
        "symbol": {"exchange": "US"},
        "date_format": "epoch_ms",
        # Of the free plan.
        "requests_per_minute": 5,
    },
)
