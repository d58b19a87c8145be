"""Small markets that the fakes serve."""

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Bar:
    """One bar in shares and currency units."""

    symbol: str
    day: date
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    pre_close: Decimal
    volume: Decimal
    amount: Decimal

    @property
    def code(self) -> str:
        return self.symbol.rpartition(".")[0]

    @property
    def exchange(self) -> str:
        return self.symbol.rpartition(".")[2]


def make_bar(symbol: str, day: date, price: str = "10.00", volume: int = 1200) -> Bar:
    close = Decimal(price)
    return Bar(
        symbol=symbol,
        day=day,
        open=close,
        high=close + Decimal("0.50"),
        low=close - Decimal("0.50"),
        close=close,
        pre_close=close - Decimal("0.10"),
        volume=Decimal(volume),
        amount=close * volume,
    )


def a_share_market(day: date, count: int = 30) -> list[Bar]:
    """As many symbols of Shanghai and Shenzhen, prices that differ by symbol and day."""
    return [
        make_bar(_a_share(number), day, f"{10 + number % 90}.{day.day:02d}", 100 * (number + 1))
        for number in range(count)
    ]


def _a_share(number: int) -> str:
    return f"{600000 + number}.SH" if number % 2 else f"{1 + number:06d}.SZ"


def us_market(day: date, count: int = 20) -> list[Bar]:
    names = ["AAPL", "BRK.B", "BACpB", "BACPB"]
    names += [
        f"S{number:03d}".translate(str.maketrans("0123456789", "ABCDEFGHIJ"))
        for number in range(count - 4)
    ]
    return [
        make_bar(f"{name}.US", day, f"{20 + at}.50", 1000 + at) for at, name in enumerate(names)
    ]


def read_shared_wire(folder: Path, day: date) -> dict[str, Any]:
    """A real tushare reply of the shared files; numbers stay the text they are."""
    text = (folder / "wire_tushare_daily" / f"{day}.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
