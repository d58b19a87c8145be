"""Faults planted into the real rows, so that the summary has something to explain.

Each is what files of real vendors do: a letter for a digit, a wrong sign, swapped columns, a row
sent twice, a file cut off while it was copied. Everything else is written as it was found.
"""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from batch_assets.ops.demo.stocks import HEADER

# Ninety-two days with six holidays in them, two of which no rule foretells: the exchange stayed
# closed for a storm on 29 and 30 October.
FIRST_DAY = date(2012, 10, 22)
LAST_DAY = date(2013, 1, 21)
BROKEN_DAY = date(2013, 1, 10)

_HIGH, _LOW, _CLOSE, _VOLUME = 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class RowFault:
    """One change to one stock's row.

    Attributes:
        what: For a person, what was done.
        apply: From the row's cells to the rows written in its place.
        read: Rows that are read more than before.
        rejected: Rows that become dead letters.
        duplicate: Rows that are counted as duplicates.
    """

    day: date
    ticker: str
    what: str
    apply: Callable[[list[str]], list[list[str]]]
    read: int = 0
    rejected: int = 0
    duplicate: int = 0


def _with_cell(cells: list[str], place: int, text: str) -> list[str]:
    return [*cells[:place], text, *cells[place + 1 :]]


def _letter_for_digit(cells: list[str]) -> list[list[str]]:
    return [_with_cell(cells, _CLOSE, cells[_CLOSE].replace("2", "Z"))]


def _negative_volume(cells: list[str]) -> list[list[str]]:
    return [_with_cell(cells, _VOLUME, f"-{cells[_VOLUME]}")]


def _high_below_low(cells: list[str]) -> list[list[str]]:
    swapped = _with_cell(_with_cell(cells, _HIGH, cells[_LOW]), _LOW, cells[_HIGH])
    return [swapped]


def _twice_with_other_volume(cells: list[str]) -> list[list[str]]:
    return [cells, _with_cell(cells, _VOLUME, f"{int(cells[_VOLUME]) + 100}")]


def _twice(cells: list[str]) -> list[list[str]]:
    return [cells, cells]


ROW_FAULTS = (
    RowFault(
        day=date(2012, 11, 5),
        ticker="MSFT",
        what="a letter in the closing price",
        apply=_letter_for_digit,
        rejected=1,
    ),
    RowFault(
        day=date(2012, 11, 14),
        ticker="FB",
        what="a negative volume",
        apply=_negative_volume,
        rejected=1,
    ),
    RowFault(
        day=date(2012, 11, 28),
        ticker="AAPL",
        what="high and low swapped",
        apply=_high_below_low,
        rejected=1,
    ),
    RowFault(
        day=date(2012, 12, 5),
        ticker="GOOG",
        what="sent twice, with two volumes",
        apply=_twice_with_other_volume,
        read=1,
        rejected=2,
    ),
    RowFault(
        day=date(2012, 12, 19),
        ticker="IBM",
        what="sent twice, the same",
        apply=_twice,
        read=1,
        duplicate=1,
    ),
)


def build_files(days: Mapping[date, list[str]]) -> dict[str, bytes]:
    """The feed's files by name, one a day, faults included.

    Equal input gives equal bytes, so that a second run recognises every file.

    Args:
        days: Lines of each trade date, without header.
    """
    files: dict[str, bytes] = {}
    for day, lines in days.items():
        faults = {fault.ticker: fault for fault in ROW_FAULTS if fault.day == day}
        rows = [row for line in lines for row in _written(line, faults)]
        content = "\n".join([HEADER, *rows, ""]).encode()
        if day == BROKEN_DAY:
            whole = gzip.compress(content, mtime=0)
            files[f"{day}.csv.gz"] = whole[: len(whole) // 2]
        else:
            files[f"{day}.csv"] = content
    return files


def describe_faults() -> list[str]:
    """One line for each planted fault, by day."""
    lines = {fault.day: f"{fault.day}  {fault.ticker:<5} {fault.what}" for fault in ROW_FAULTS}
    lines[BROKEN_DAY] = f"{BROKEN_DAY}  whole day: the file is cut off in the middle"
    return [lines[day] for day in sorted(lines)]


def _written(line: str, faults: Mapping[str, RowFault]) -> list[str]:
    cells = line.split(",")
    fault = faults.get(cells[0])
    return [",".join(row) for row in fault.apply(cells)] if fault else [line]
