"""The files a scenario loads, and what must be in the table afterwards, in plain Python.

Two versions of every file: `old` is loaded before for half of the days, `new` is what the faulty
run and its successors load. Two days fit into one chunk, two do not, and of each kind one is new
to the table and one is merged into older rows.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

HEADER = [
    *("日期", "股票代码", "开盘价", "最高价", "最低价", "收盘价", "前收盘价"),
    *("成交量(手)", "成交额(千元)"),
]
SHARES_IN_A_LOT = 100
THOUSAND = 1000


@dataclass(frozen=True)
class PlantedDay:
    """How much of a day is in each version."""

    day: str
    rows: int
    old_rows: int = 0
    bad_rows: int = 1


# A session each; the weekend between the last two is none. Days only grow, as a market that loses
# symbols overnight is a finding of its own.
DAYS = (
    PlantedDay("2024-09-25", rows=300, old_rows=280),
    PlantedDay("2024-09-26", rows=301),
    PlantedDay("2024-09-27", rows=1_200, old_rows=1_100, bad_rows=3),
    PlantedDay("2024-09-30", rows=1_201, bad_rows=3),
)
FIRST_DAY, LAST_DAY = DAYS[0].day, DAYS[-1].day

Row = tuple[object, ...]


def plant(folder: Path, version: str, days: tuple[PlantedDay, ...] = DAYS) -> None:
    """Write the files of a version; `old` has no file of days that are new to the table."""
    folder.mkdir(parents=True, exist_ok=True)
    for planted in days:
        lines = list(_lines(planted, version))
        if lines:
            with (folder / f"{planted.day}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([HEADER, *lines])


def _lines(planted: PlantedDay, version: str) -> Iterator[list[str]]:
    count = planted.rows if version == "new" else planted.old_rows
    for number in range(count):
        # Every third row is the same in both versions, so that a merge meets all its cases.
        is_changed = version == "new" and number % 3 != 0
        line = _line(planted.day, number, cents=37 if is_changed else 11)
        yield line
        if number == 5:
            yield line
    if version == "new":
        for number in range(planted.bad_rows):
            line = _line(planted.day, 5_000 + number, cents=11)
            line[HEADER.index("收盘价")] = ""
            yield line


def _line(day: str, number: int, *, cents: int) -> list[str]:
    close = Decimal(10 + number % 80) + Decimal(int(day[-2:]) * 100 + cents) / 10_000
    spread, lots = Decimal("0.5"), 100 + number
    amount = close * lots * SHARES_IN_A_LOT / THOUSAND
    prices = (close, close + spread, close - spread, close, close)
    return [day, f"{number + 1:06d}.SZ", *map(str, prices), str(lots), str(amount)]


def expected_rows(folder: Path) -> dict[str, set[Row]]:
    """What the files say must be in the table: by day, symbol, prices, shares and currency."""
    found: dict[str, set[Row]] = {}
    for file in sorted(folder.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            for line in csv.DictReader(lines):
                if not line["收盘价"]:
                    continue
                prices = tuple(Decimal(line[name]) for name in HEADER[2:7])
                volume = Decimal(line["成交量(手)"]) * SHARES_IN_A_LOT
                amount = Decimal(line["成交额(千元)"]) * THOUSAND
                row = (line["股票代码"], *prices, volume, amount)
                found.setdefault(line["日期"], set()).add(row)
    return found


def bad_rows(days: tuple[PlantedDay, ...] = DAYS) -> int:
    """Dead letters that are open when everything is loaded."""
    return sum(planted.bad_rows for planted in days)
