"""Which column of a file holds what: names in any language, or positions.

Headers are compared after folding (width, case, blanks, underscores), so `成交量（手）` and
`成交量(手)` are one name. Units and formats belong in feed.py.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

PRICES = ("open", "high", "low", "close", "pre_close")
NUMBERS = (*PRICES, "volume", "amount")

# Names that mean one thing only; a name that implies a unit, such as 成交量(手), must be mapped
# by the feed, which then states the unit too.
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "symbol": (
        "symbol", "ts_code", "code", "ticker", "stock_code", "证券代码", "股票代码", "代码",
        "證券代號", "コード", "종목코드",
    ),
    "date": (
        "date", "trade_date", "trading_date", "timestamp", "日期", "交易日期", "交易日", "日付",
        "일자", "날짜",
    ),
    "open": ("open", "open_price", "opening", "开盘价", "开盘", "開盤價", "始値", "시가"),
    "high": ("high", "high_price", "最高价", "最高", "最高價", "高値", "고가"),
    "low": ("low", "low_price", "最低价", "最低", "最低價", "安値", "저가"),
    "close": ("close", "close_price", "收盘价", "收盘", "收盤價", "終値", "종가"),
    "pre_close": (
        "pre_close", "preclose", "prev_close", "previous_close", "前收盘价", "前收盘", "昨收",
        "昨收盘",
    ),
    "volume": ("volume", "vol", "成交量", "成交股數", "出来高", "거래량"),
    "amount": ("amount", "turnover", "成交额", "成交金额", "成交金額", "売買代金", "거래대금"),
    "series": (),
    "status": (),
}  # fmt: skip
OPTIONAL = frozenset({"pre_close", "amount", "series", "status"})


def _as_candidates(value: Any) -> Any:
    if value in ("", None):
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Candidates = Annotated[tuple[str | int, ...], BeforeValidator(_as_candidates)]


class Columns(BaseModel):
    """`columns` of a feed: for each value one name or position, or a list of candidates.

    Positions count from 1. An empty string says that the file does not have the value. What is
    not mentioned is looked for under its usual names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbol: Candidates | None = None
    date: Candidates | None = None
    open: Candidates | None = None
    high: Candidates | None = None
    low: Candidates | None = None
    close: Candidates | None = None
    pre_close: Candidates | None = None
    volume: Candidates | None = None
    amount: Candidates | None = None
    series: Candidates | None = None
    status: Candidates | None = None

    def stated(self) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        """The values the feed says something about."""
        for target in KNOWN_NAMES:
            if (candidates := getattr(self, target)) is not None:
                yield target, candidates


def fold(name: str) -> str:
    """A header name without differences nobody means."""
    folded = unicodedata.normalize("NFKC", name).strip("\ufeff\u200b \t\r\n'\"").casefold()
    return "_".join(folded.replace("_", " ").split())


@lru_cache(maxsize=256)
def locate(
    columns: Columns, header: tuple[str, ...]
) -> tuple[Mapping[str, int], Mapping[str, str]]:
    """Find each value in a header.

    Args:
        columns: The feed's mapping.
        header: Column names of the file; for a file without header, one name a column.

    Returns:
        Index of each value found (from 0), and for each value that should be there and is not,
        the names looked for.
    """
    by_name = {fold(name): index for index, name in reversed(list(enumerate(header)))}
    stated = dict(columns.stated())
    found: dict[str, int] = {}
    missing: dict[str, str] = {}
    for target, known in KNOWN_NAMES.items():
        candidates = stated.get(target, known)
        index = _first(candidates, by_name, len(header))
        if index is not None:
            found[target] = index
        elif candidates and (target in stated or target not in OPTIONAL):
            missing[target] = " or ".join(str(candidate) for candidate in candidates)
    return MappingProxyType(found), MappingProxyType(missing)


def _first(
    candidates: Sequence[str | int], by_name: dict[str, int], column_count: int
) -> int | None:
    for candidate in candidates:
        if isinstance(candidate, int):
            if 1 <= candidate <= column_count:
                return candidate - 1
        elif fold(candidate) in by_name:
            return by_name[fold(candidate)]
    return None
