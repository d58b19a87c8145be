"""tushare pro: the whole A-share market of a day over HTTP, for users with points.

Wire: POST a JSON object to the base URL, get `{"code", "msg", "data": {"fields", "items"}}`.
Volumes are lots, amounts thousands of yuan. Documentation: https://tushare.pro/document/2.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from batch_assets.errors import (
    BatchAssetsError,
    SourceRateLimited,
    SourceRefused,
    SourceUnavailable,
    UnreadableSource,
)
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.vendors.asking import ask
from batch_assets.sources.market.vendors.http import HttpCaller
from batch_assets.sources.market.vendors.replies import (
    fetched_rows,
    join_fetched,
    read_json_rows,
    require_list,
    require_mapping,
    require_rows,
)
from batch_assets.sources.market.vendors.vendor import Fetched, VendorAccess, VendorKind

_BAR_FIELDS = "ts_code,trade_date,open,high,low,close,pre_close,vol,amount"
_EXCHANGES = {"SSE": ".SH", "SZSE": ".SZ", "BSE": ".BJ"}

# 40203 is a rate limit as well as a missing permission; only the words tell. The words of a limit
# end in a link to the permissions, so they are looked for first.
_LIMITS = (("每分钟", 60.0), ("每小时", 3600.0), ("每天", 24 * 3600.0))
_NO_PERMISSION = re.compile("权限|积分|token|Token|TOKEN|令牌")


class TushareVendor:
    """Asks tushare; each question is one request."""

    def __init__(self, feed: VendorFeed, access: VendorAccess) -> None:
        self._feed = feed
        self._access = access
        self._http = HttpCaller(feed, access)

    def fetch_day(self, day: date) -> Fetched:
        """See AnswersDays; asks for each exchange alone where one answer does not hold all."""
        params = {"trade_date": f"{day:%Y%m%d}"}
        label = f"tushare daily {day}"
        whole, is_cut = self._query("daily", params, _BAR_FIELDS, label)
        if not is_cut:
            return whole
        parts = [self._exchange_day(params, exchange, label) for exchange in _EXCHANGES]
        return join_fetched(label, parts)

    def _exchange_day(self, params: Mapping[str, str], exchange: str, label: str) -> Fetched:
        label = f"{label} {exchange}"
        part, is_cut = self._query("daily", {**params, "exchange": exchange}, _BAR_FIELDS, label)
        suffix = _EXCHANGES[exchange]
        codes = (
            part.cells.column("ts_code").to_pylist() if "ts_code" in part.cells.column_names else []
        )
        strange = next((code for code in codes if code and not code.endswith(suffix)), None)
        if is_cut or strange:
            seen = f"{strange} among them" if strange else "as many as one answer can hold"
            raise UnreadableSource(
                f"{label}: {part.read_rows} rows, {seen}; expected all rows of {exchange} and no "
                f"others; max_reply_rows of feed {self._feed.name} is "
                f"{self._feed.max_reply_rows}: set it to the limit of your account"
            )
        return part

    def fetch_symbol(self, symbol: str, start: date, end: date) -> Fetched:
        """See AnswersSymbols; a range longer than one answer is halved."""
        label = f"tushare daily {symbol} {start} to {end}"
        params = {"ts_code": symbol, "start_date": f"{start:%Y%m%d}", "end_date": f"{end:%Y%m%d}"}
        whole, is_cut = self._query("daily", params, _BAR_FIELDS, label)
        if not is_cut or start == end:
            return whole
        middle = start + (end - start) // 2
        after = date.fromordinal(middle.toordinal() + 1)
        return join_fetched(
            label, [self.fetch_symbol(symbol, start, middle), self.fetch_symbol(symbol, after, end)]
        )

    def fetch_instruments(self, day: date) -> Fetched:  # noqa: ARG002 - the list has no date
        """See ListsInstruments; listed, delisted and paused ones."""
        fields = "ts_code,name,market,list_date,delist_date"
        parts = [
            part
            for state in ("L", "D", "P")
            for part in self._listed(state, fields, f"tushare stock_basic {state}")
        ]
        return join_fetched("tushare stock_basic", parts)

    def _listed(self, state: str, fields: str, label: str) -> list[Fetched]:
        params = {"list_status": state}
        whole, is_cut = self._query("stock_basic", params, fields, label)
        if not is_cut:
            return [whole]
        return [
            self._whole(
                "stock_basic", {**params, "exchange": exchange}, fields, f"{label} {exchange}"
            )
            for exchange in _EXCHANGES
        ]

    def fetch_sessions(self, start: date, end: date) -> dict[date, bool]:
        """See ListsSessions."""
        label = f"tushare trade_cal {start} to {end}"
        params = {
            "exchange": "SSE",
            "start_date": f"{start:%Y%m%d}",
            "end_date": f"{end:%Y%m%d}",
        }
        answer, _ = self._query("trade_cal", params, "cal_date,is_open", label)
        try:
            days = answer.cells.column("cal_date").to_pylist()
            states = answer.cells.column("is_open").to_pylist()
            return {
                datetime.strptime(day, "%Y%m%d").date(): state == "1"  # noqa: DTZ007 - a date
                for day, state in zip(days, states, strict=True)
            }
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableSource(
                f"{label}: not a calendar ({error}); expected cal_date as YYYYMMDD and is_open"
            ) from error

    def fetch_factors(self, day: date) -> Fetched:
        """See GivesFactors."""
        label = f"tushare adj_factor {day}"
        params = {"trade_date": f"{day:%Y%m%d}"}
        return self._whole("adj_factor", params, "ts_code,trade_date,adj_factor", label)

    def fetch_suspensions(self, day: date) -> Fetched:
        """See ListsSuspensions."""
        label = f"tushare suspend_d {day}"
        params = {"trade_date": f"{day:%Y%m%d}", "suspend_type": "S"}
        return self._whole("suspend_d", params, "ts_code,trade_date,suspend_timing", label)

    def close(self) -> None:
        """See Vendor."""
        self._http.close()

    def _whole(self, api_name: str, params: Mapping[str, str], fields: str, label: str) -> Fetched:
        """The rows of a question that cannot be asked in smaller parts."""
        answer, is_cut = self._query(api_name, params, fields, label)
        if is_cut:
            raise UnreadableSource(
                f"{label}: {answer.read_rows} rows, as many as one answer can hold, expected all; "
                f"max_reply_rows of feed {self._feed.name} is {self._feed.max_reply_rows}: set it "
                "to the limit of your account"
            )
        return answer

    def _query(
        self, api_name: str, params: Mapping[str, str], fields: str, label: str
    ) -> tuple[Fetched, bool]:
        """The rows, and whether there are more than one answer holds."""
        request = {
            "api_name": api_name,
            "token": self._access.token(self._feed),
            "params": dict(params),
            "fields": fields,
        }
        return ask(self._feed, self._access.throttle, lambda: self._ask_once(request, label))

    def _ask_once(self, request: Mapping[str, Any], label: str) -> tuple[Fetched, bool]:
        reply = self._http.post_json("", request)
        answer = require_mapping(read_json_rows(reply.body, "items", label), label)
        code = str(answer.get("code"))
        if code != "0":
            raise self._refusal(code, str(answer.get("msg") or ""), label)
        if answer.get("data") is None:
            raise SourceUnavailable(
                f"{label}: code 0 without data, expected fields and items; run it again later"
            )
        data = require_mapping(answer["data"], label)
        fields = require_list(data.get("fields"), label)
        fetched = fetched_rows(label, fields, require_rows(data.get("items"), label))
        cap = self._feed.max_reply_rows
        is_cut = data.get("has_more") is True or bool(cap and fetched.read_rows >= cap)
        return fetched, is_cut

    def _refusal(self, code: str, message: str, label: str) -> BatchAssetsError:
        seen = f"{label}: tushare answers code {code}, {message!r}"
        for words, wait_seconds in _LIMITS:
            if words in message:
                return SourceRateLimited(
                    f"{seen}; a rate limit: run the partition again after {wait_seconds:g} s",
                    retry_after_seconds=wait_seconds,
                )
        if _NO_PERMISSION.search(message):
            return SourceRefused(
                f"{seen}; expected code 0; check the token in {self._feed.token_env} and the "
                "points of its account; nothing more was asked"
            )
        return SourceUnavailable(f"{seen}; expected code 0; run the partition again later")


VENDOR = VendorKind(
    vendor=TushareVendor,
    open=TushareVendor,
    columns={
        "symbol": "ts_code",
        "date": "trade_date",
        "open": "open",
        "high": "high",
        "low": "low",
        "close": "close",
        "pre_close": "pre_close",
        "volume": "vol",
        "amount": "amount",
    },
    defaults={
        "base_url": "http://api.tushare.pro",
        "token_env": "TUSHARE_TOKEN",
        "calendar": "XSHG",
        "symbol": {"style": "cn"},
        "date_format": "YYYYMMDD",
        "volume_unit": "lot",
        "amount_scale": 1000,
        # The vendor loads a day between 15 and 16 o'clock, at times as late as 17 (tushare #1720).
        "ready_after_minutes": 120,
        "max_reply_rows": 6000,
        # Of accounts with 120 points, as the vendor's client states it.
        "requests_per_minute": 500,
    },
    instruments={
        "symbol": "ts_code",
        "name": "name",
        "board": "market",
        "listed_on": "list_date",
        "delisted_on": "delist_date",
    },
    suspensions={"symbol": "ts_code", "trade_date": "trade_date", "reason": "suspend_timing"},
    factors={"symbol": "ts_code", "trade_date": "trade_date", "factor": "adj_factor"},
)
