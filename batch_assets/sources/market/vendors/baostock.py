"""baostock: the whole A-share market of a day, free and without a token.

Volumes are shares, amounts yuan. One connection, never more: addresses that open several are
black-listed (Sequoia-X #109). Frames are in baostock_wire.py. Field layouts: the package baostock
0.9.4.
"""

from collections.abc import Sequence
from datetime import date

from batch_assets.errors import (
    BatchAssetsError,
    SourceRateLimited,
    SourceRefused,
    SourceUnavailable,
    UnknownSymbol,
    UnreadableSource,
)
from batch_assets.sources.market.feed import Adjustment, VendorFeed
from batch_assets.sources.market.vendors.asking import ask
from batch_assets.sources.market.vendors.baostock_wire import BaostockConnection, WireReply
from batch_assets.sources.market.vendors.replies import (
    fetched_rows,
    join_fetched,
    read_json_rows,
    require_mapping,
    require_rows,
    rows_where,
    rows_with,
)
from batch_assets.sources.market.vendors.sole_use import FileSoleUse
from batch_assets.sources.market.vendors.vendor import Fetched, VendorAccess, VendorKind

HOST, VIP_HOST, PORT = "public-api.baostock.com", "vip-api.baostock.com", 10030
_VIP_TOKEN = "bs-"  # noqa: S105 - how tokens of paying users begin
# Kinds of securities in query_stock_basic, of which the bars of a day are the first; and a symbol
# of query_all_stock that does not trade.
_STOCK, _SUSPENDED = "1", "0"
_FACTOR_FIELDS = ["code", "dividOperateDate", "backAdjustFactor"]
# Before the first listing in Shanghai and Shenzhen.
_BEFORE_ALL = date(1990, 1, 1)
_USER, _PASSWORD = "anonymous", "123456"
_PAGE_ROWS = 2000
_ADJUST_FLAGS = {Adjustment.HFQ: "1", Adjustment.QFQ: "2", Adjustment.RAW: "3"}
_BAR_FIELDS = "date,code,open,high,low,close,preclose,volume,amount,adjustflag,tradestatus"

_NOT_LOGGED_IN, _TOO_MANY_LOGINS, _BLACK_LISTED = "10001001", "10001005", "10001011"
_TOO_MANY_REQUESTS, _INVALID_SYMBOLS = "10004016", ("10004011", "10004015")
_LOGIN_WAIT_SECONDS = 60.0


class BaostockVendor:
    """Asks baostock; logs in when it is first asked."""

    def __init__(self, feed: VendorFeed, access: VendorAccess) -> None:
        self._feed = feed
        self._access = access
        self._sole_use = access.sole_use or FileSoleUse(feed, access.lock_dir)
        self._connection = BaostockConnection(feed)

    def fetch_day(self, day: date) -> Fetched:
        """See AnswersDays."""
        label = f"baostock day {day}"
        method = "query_daily_history_k_AStock"
        fields = self._ask("98", (method, _USER, day.isoformat()), label)
        return _rows(fields, 4, 5, label)

    def fetch_symbol(self, symbol: str, start: date, end: date) -> Fetched:
        """See AnswersSymbols."""
        label = f"baostock {symbol} {start} to {end}"
        request = (
            _own_spelling(symbol), _BAR_FIELDS, start.isoformat(), end.isoformat(), "d",
            _ADJUST_FLAGS[self._feed.prices],
        )  # fmt: skip
        return self._pages("95", "query_history_k_data_plus", request, 8, label)

    def fetch_instruments(self, day: date) -> Fetched:  # noqa: ARG002 - the list has no date
        """See ListsInstruments; stocks that are or were listed."""
        label = "baostock stock basic"
        everything = self._pages("45", "query_stock_basic", ("", ""), 9, label)
        return rows_where(everything, "type", _STOCK)

    def fetch_suspensions(self, day: date) -> Fetched:
        """See ListsSuspensions."""
        label = f"baostock all stock {day}"
        everything = self._pages("35", "query_all_stock", (day.isoformat(),), 8, label)
        return rows_where(everything, "tradeStatus", _SUSPENDED)

    def fetch_factors(self, day: date) -> Fetched:
        """See GivesFactors; every change, up to the day, of the symbols that change on it.

        A change alone would say nothing of the factor that held before it.
        """
        label = f"baostock adjust factor {day}"
        fields = self._ask("9C", ("query_daily_adjust_factor", _USER, day.isoformat()), label)
        changed = _rows(fields, 4, 5, label)
        if changed.malformed or not changed.read_rows:
            return changed
        codes = rows_with(changed, _FACTOR_FIELDS).cells.column("code").unique().to_pylist()
        parts = [self._factors_of(code, day) for code in codes]
        return join_fetched(label, [rows_with(part, _FACTOR_FIELDS) for part in (changed, *parts)])

    def _factors_of(self, code: str, day: date) -> Fetched:
        label = f"baostock adjust factor {code} until {day}"
        request = (code, _BEFORE_ALL.isoformat(), day.isoformat())
        return self._pages("15", "query_adjust_factor", request, 10, label)

    def fetch_sessions(self, start: date, end: date) -> dict[date, bool]:
        """See ListsSessions."""
        label = f"baostock trade dates {start} to {end}"
        request = (start.isoformat(), end.isoformat())
        answer = self._pages("33", "query_trade_dates", request, 9, label)
        try:
            days = answer.cells.column("calendar_date").to_pylist()
            states = answer.cells.column("is_trading_day").to_pylist()
            return {date.fromisoformat(d): s == "1" for d, s in zip(days, states, strict=True)}
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableSource(
                f"{label}: not a calendar ({error}); expected calendar_date and is_trading_day"
            ) from error

    def close(self) -> None:
        """See Vendor; says good-bye first, for the vendor counts logins."""
        try:
            if self._connection.is_open:
                self._connection.exchange("02", ("logout", _USER, ""))
        except SourceUnavailable:
            return  # closed by the failure
        finally:
            self._connection.close()
            self._sole_use.release()

    def _pages(
        self, type_: str, method: str, request: Sequence[str], names_at: int, label: str
    ) -> Fetched:
        pages: list[Fetched] = []
        while not pages or pages[-1].read_rows == _PAGE_ROWS:
            number = str(len(pages) + 1)
            fields = self._ask(type_, (method, _USER, number, str(_PAGE_ROWS), *request), label)
            pages.append(_rows(fields, 6, names_at, label))
        return join_fetched(label, pages)

    def _ask(self, type_: str, request: Sequence[str], label: str) -> tuple[str, ...]:
        if not self._sole_use.is_held():
            # Taken over while this process was stopped: whoever has it now may be connected.
            self._connection.close()
            self._sole_use.hold()
        return ask(self._feed, self._access.throttle, lambda: self._ask_once(type_, request, label))

    def _ask_once(self, type_: str, request: Sequence[str], label: str) -> tuple[str, ...]:
        reply = self._logged_in_reply(type_, request)
        if _code(reply) == _NOT_LOGGED_IN:
            # The server forgets idle logins; once more with a fresh one.
            self._connection.close()
            reply = self._logged_in_reply(type_, request)
        if _code(reply) != "0":
            self._raise_refusal(reply, label)
        return reply.fields

    def _logged_in_reply(self, type_: str, request: Sequence[str]) -> WireReply:
        if not self._connection.is_open:
            self._login()
        return self._connection.exchange(type_, request)

    def _login(self) -> None:
        feed = self._feed
        token = self._access.token(feed) if feed.token_env else "0"
        host = VIP_HOST if token.startswith(_VIP_TOKEN) and feed.host == HOST else feed.host
        self._connection.open(host)
        reply = self._connection.exchange("00", ("login", _USER, _PASSWORD, token))
        if _code(reply) != "0":
            self._raise_refusal(reply, "baostock login")

    def _raise_refusal(self, reply: WireReply, label: str) -> None:
        code, message = _code(reply), reply.fields[1] if len(reply.fields) > 1 else ""
        message = self._access.without_token(self._feed, message.encode()).decode()
        failure = _refusal(code, f"{label}: baostock answers {code}, {message!r}", self._feed)
        if not isinstance(failure, UnknownSymbol):
            self._connection.close()
        raise failure


def _code(reply: WireReply) -> str:
    return reply.fields[0].strip()


def _refusal(code: str, seen: str, feed: VendorFeed) -> BatchAssetsError:
    if code == _BLACK_LISTED:
        return SourceRefused(
            f"{seen}: this address is black-listed; expected a login; stop everything that uses "
            "baostock from here, wait a day, keep to one connection, and write to the vendor if "
            "it lasts; nothing more was asked"
        )
    if code == _TOO_MANY_LOGINS:
        return SourceRateLimited(
            f"{seen}: too many logins; end other programs that use baostock, then run the "
            "partition again",
            retry_after_seconds=_LOGIN_WAIT_SECONDS,
        )
    if code == _TOO_MANY_REQUESTS:
        return SourceRateLimited(
            f"{seen}: over a limit; run the partition again later",
            retry_after_seconds=_LOGIN_WAIT_SECONDS,
        )
    if code in _INVALID_SYMBOLS:
        return UnknownSymbol(f"{seen}; expected a symbol baostock knows; correct symbols")
    if code == _NOT_LOGGED_IN:
        return SourceUnavailable(f"{seen} right after a login; run the partition again later")
    if code.startswith("10001"):
        variable = f" in {feed.token_env}" if feed.token_env else ""
        return SourceRefused(f"{seen}; expected code 0; check the token{variable}")
    if code.startswith("10004"):
        return SourceRefused(
            f"{seen}; expected code 0; the vendor may have changed its protocol: compare with the "
            "newest package baostock"
        )
    return SourceUnavailable(f"{seen}; expected code 0; run the partition again later")


def _rows(fields: Sequence[str], record_at: int, names_at: int, label: str) -> Fetched:
    if len(fields) <= max(record_at, names_at):
        raise UnreadableSource(
            f"{label}: a reply of {len(fields)} fields, expected at least "
            f"{max(record_at, names_at) + 1}; the vendor may have changed its protocol"
        )
    names = [name.strip() for name in fields[names_at].split(",")]
    if not fields[record_at].strip():
        return fetched_rows(label, names, [])
    answer = require_mapping(read_json_rows(fields[record_at].encode(), "record", label), label)
    return fetched_rows(label, names, require_rows(answer.get("record"), label))


def _own_spelling(symbol: str) -> str:
    """`600000.SH` as `sh.600000`."""
    code, _, exchange = symbol.partition(".")
    return f"{exchange.lower()}.{code}"


VENDOR = VendorKind(
    vendor=BaostockVendor,
    open=BaostockVendor,
    columns={
        "symbol": "code",
        "date": "date",
        "open": "open",
        "high": "high",
        "low": "low",
        "close": "close",
        "pre_close": "preclose",
        "volume": "volume",
        "amount": "amount",
        "status": "tradestatus",
    },
    defaults={
        "host": HOST,
        "port": PORT,
        "calendar": "XSHG",
        "symbol": {"style": "cn"},
        "suspended_values": ["0"],
        # The vendor's page says 17:30; its users see it later.
        "ready_after_minutes": 180,
    },
    instruments={
        "symbol": "code",
        "name": "code_name",
        "listed_on": "ipoDate",
        "delisted_on": "outDate",
    },
    suspensions={"symbol": "code"},
    factors={"symbol": "code", "ex_date": "dividOperateDate", "factor": "backAdjustFactor"},
    one_connection=True,
)
