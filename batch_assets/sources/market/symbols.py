"""Canonical symbols: code, series where the feed has one, and exchange (`SBIN-EQ.NS`).

A pure function of one spelling; spellings.py applies it to columns.
"""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

CANONICAL = re.compile(r"[A-Z0-9][A-Z0-9&_.\-]*\.[A-Z]{2,10}")

_EXCHANGES_CN = {
    "SH": "SH", "SS": "SH", "SSE": "SH", "XSHG": "SH", "SHSE": "SH", "SHH": "SH", "1": "SH",
    "SZ": "SZ", "SZSE": "SZ", "XSHE": "SZ", "SHE": "SZ", "SHZ": "SZ", "0": "SZ",
    "BJ": "BJ", "BSE": "BJ", "XBSE": "BJ", "BJSE": "BJ",
}  # fmt: skip
_CN_SUFFIX = re.compile(r"(?P<code>\d{1,6})\.(?P<exchange>[A-Z]{2,4})")
_CN_PREFIX = re.compile(r"(?P<exchange>[A-Z]{2,4}|[01](?=\.))\.?(?P<code>\d{6})")
_CN_BARE = re.compile(r"\d{1,6}")
# Spellings that are canonical as they stand, for feeds with nothing to translate.
_SURELY_CANONICAL = {
    "cn": r"^[0-9]{6}\.(?:SH|SZ|BJ)$",
    "plain": r"^[A-Z][A-Z0-9&_\-]*\.[A-Z]{2,10}$",
}


class SymbolRule(BaseModel):
    """`symbol` of a feed: how a spelling becomes a canonical symbol."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    style: Literal["plain", "cn"] = Field(default="plain", description="cn: mainland spellings")
    exchange: str = Field(default="", description="suffix where the spelling has none (US)")
    pattern: str = Field(default="", description="regex with (?P<code>), (?P<exchange>)")
    file_pattern: str = Field(default="", description="the same on the file name, no column used")
    value: str = Field(default="", description="one symbol for every row")
    width: int = Field(default=0, ge=0, le=12, description="digits, filled with leading zeros")
    bare: Literal["refuse", "stock", "index"] = Field(
        default="refuse", description="what six digits without exchange are (000001 is both)"
    )
    aliases: dict[str, str] = Field(default_factory=dict, description="spelling to code")

    @field_validator("pattern", "file_pattern")
    @classmethod
    def _is_regex(cls, value: str) -> str:
        try:
            groups = re.compile(value).groupindex
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if value and "code" not in groups:
            raise ValueError("must have a group (?P<code>...)")
        return value

    @property
    def expected(self) -> str:
        """What a spelling may look like, in words."""
        if self.style == "cn":
            return "an A-share code with exchange such as 600000.SH, sh600000 or 1.600000"
        return f"a code matching {self.pattern}" if self.pattern else "a code of letters and digits"

    def from_file(self, name: str) -> str | None:
        """The spelling in a file's name; None if the feed does not take it from there."""
        if self.value:
            return self.value
        if not self.file_pattern:
            return None
        found = re.search(self.file_pattern, name)
        if found is None:
            return ""
        exchange = found.groupdict().get("exchange")
        return f"{found['code']}.{exchange}" if exchange else found["code"]

    @property
    def surely_canonical(self) -> str:
        """Regex (RE2) of spellings that are their own canonical symbol; empty if none surely is."""
        is_plain = not (self.pattern or self.aliases or self.exchange)
        return _SURELY_CANONICAL[self.style] if is_plain else ""

    def canonical(self, spelling: str, series: str = "") -> str | None:
        """The canonical symbol, or None if the spelling is none."""
        text = spelling.strip().lstrip("'=").strip('"').strip()
        text = self.aliases.get(text, text)
        code, exchange = self._split(text)
        if not code or not exchange:
            return None
        series = series.strip().upper()
        symbol = f"{code}-{series}.{exchange}" if series else f"{code}.{exchange}"
        return symbol if CANONICAL.fullmatch(symbol) else None

    def _split(self, text: str) -> tuple[str, str]:
        if self.pattern:
            found = re.fullmatch(self.pattern, text, re.IGNORECASE)
            if found is None:
                return "", ""
            exchange = found.groupdict().get("exchange")
            text = f"{found['code']}.{exchange}" if exchange else found["code"]
        text = text.upper()
        return self._split_cn(text) if self.style == "cn" else self._split_plain(text)

    def _split_plain(self, text: str) -> tuple[str, str]:
        code, dot, exchange = text.rpartition(".")
        if not dot or (self.exchange and exchange != self.exchange):
            code, exchange = text, self.exchange
        return code.zfill(self.width) if code.isdecimal() else code, exchange

    def _split_cn(self, text: str) -> tuple[str, str]:
        found = _CN_SUFFIX.fullmatch(text) or _CN_PREFIX.fullmatch(text)
        if found:
            code = found["code"].zfill(6)
            exchange = _EXCHANGES_CN.get(found["exchange"], "")
            # Eastmoney's secid calls Beijing 0, like Shenzhen.
            if found["exchange"] == "0" and _exchange_of_stock(code) == "BJ":
                exchange = "BJ"
            return code, exchange
        if not _CN_BARE.fullmatch(text):
            return "", ""
        code = text.zfill(6)
        if self.exchange:
            return code, self.exchange
        if self.bare == "stock":
            return code, _exchange_of_stock(code)
        return (code, _exchange_of_index(code)) if self.bare == "index" else ("", "")


def _exchange_of_stock(code: str) -> str:
    if code.startswith(("4", "8", "92")):
        return "BJ"
    if code.startswith(("6", "9", "5")):
        return "SH"
    return "SZ" if code.startswith(("0", "1", "2", "3")) else ""


def _exchange_of_index(code: str) -> str:
    if code.startswith("399"):
        return "SZ"
    return "BJ" if code.startswith("899") else "SH"
