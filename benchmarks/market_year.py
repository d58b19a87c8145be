r"""One year of a market as day files, the same rows on every machine.

Files are what a data vendor delivers: a header, plain decimals, shares and currency units, so
that `psql \copy` loads them as they are. Integers only, no libm: nothing depends on the machine.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from batch_assets.sources.market.calendar import open_calendar
from batch_assets.sources.market.feed import Adjustment, FileFeed, Layout
from batch_assets.sources.market.symbols import SymbolRule

FIRST_DAY = date(2023, 1, 1)
COLUMNS = (
    "symbol", "trade_date", "open", "high", "low", "close", "pre_close", "volume", "amount",
)  # fmt: skip
VOLUME_COLUMN = COLUMNS.index("volume")

# Of 1,000 listings this many do not trade on a given day: volume 0, prices of the day before.
_IDLE_PER_MILLE = 3
_SEED = 20_230_103


@dataclass(frozen=True, slots=True)
class DayFiles:
    """Day files of one market and how they are read.

    Attributes:
        folder: Where they are, `YYYY-MM-DD.csv` each.
        days: Trade dates, oldest first.
        row_count: Rows of all files.
        calendar: Name of the exchange's calendar.
        prices: How prices are adjusted.
        suffix: What they are: `csv` or `parquet`.
    """

    folder: Path
    days: tuple[date, ...]
    row_count: int
    calendar: str = "XSHG"
    prices: Adjustment = Adjustment.RAW
    suffix: str = "csv"

    def file_of(self, day: date) -> Path:
        """The file of one day."""
        return self.folder / f"{day.isoformat()}.{self.suffix}"

    def first(self, count: int) -> "DayFiles":
        """The oldest days alone; all days have the same number of rows."""
        rows = self.row_count // len(self.days) * count
        return replace(self, days=self.days[:count], row_count=rows)

    def described(self) -> dict[str, object]:
        """For another process, as JSON takes it."""
        days = [day.isoformat() for day in self.days]
        return {
            "folder": str(self.folder), "days": days, "row_count": self.row_count,
            "suffix": self.suffix,
        }  # fmt: skip

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> "DayFiles":
        """What was described, in the other process."""
        days = tuple(date.fromisoformat(day) for day in described["days"])
        return cls(
            Path(described["folder"]), days, described["row_count"], suffix=described["suffix"]
        )

    def feed(self, name: str = "benchmark") -> FileFeed:
        """The files as a feed."""
        return FileFeed(
            name=name,
            folder=self.folder,
            files=f"{{date}}.{self.suffix}",
            layout=Layout.BY_DAY,
            symbol=SymbolRule(style="cn"),
            calendar=self.calendar,
            prices=self.prices,
        )


def write_year(
    folder: Path, cache_dir: Path, *, symbols: int, sessions: int, first_day: date = FIRST_DAY
) -> DayFiles:
    """Write the day files of a market of `symbols` listings."""
    folder.mkdir(parents=True)
    days = _first_sessions(sessions, cache_dir, first_day)
    for day, table in zip(days, _iter_days(days, symbols), strict=True):
        pa_csv.write_csv(
            table, folder / f"{day.isoformat()}.csv", pa_csv.WriteOptions(quoting_style="none")
        )
    return DayFiles(folder, days, symbols * sessions)


def write_reordered(files: DayFiles, folder: Path) -> DayFiles:
    """The same rows in the opposite order: other bytes, equal content."""
    return _rewrite(files, folder, lambda _, lines: lines[::-1])


def write_parquet(files: DayFiles, folder: Path) -> DayFiles:
    """The same rows as Parquet files with the table's types."""
    folder.mkdir(parents=True)
    written = replace(files, folder=folder, suffix="parquet")
    numbers = {name: pa.decimal128(20, 6) for name in COLUMNS[2:7]}
    types = {**numbers, "volume": pa.decimal128(24, 8), "amount": pa.decimal128(24, 4)}
    options = pa_csv.ConvertOptions(column_types={**types, "symbol": pa.string()})
    for day in files.days:
        pa_parquet.write_table(
            pa_csv.read_csv(files.file_of(day), convert_options=options), written.file_of(day)
        )
    return written


def write_without(files: DayFiles, folder: Path, *, ratio: float) -> tuple[DayFiles, int]:
    """The same files without `ratio` of the rows of each day: those that come later.

    Returns:
        The files, and the number of rows left out.
    """
    step = round(1 / ratio)

    def leave_out(number: int, lines: list[bytes]) -> list[bytes]:
        return [line for index, line in enumerate(lines) if index % step != number % step]

    written = _rewrite(files, folder, leave_out)
    left = sum(len(written.file_of(day).read_bytes().splitlines()) - 1 for day in files.days)
    return replace(written, row_count=left), files.row_count - left


def write_changed(
    files: DayFiles, folder: Path, *, ratio: float, only: Collection[date] | None = None
) -> tuple[DayFiles, int]:
    """The same files with `ratio` of the rows changed, spread over every day.

    Args:
        only: Days to change; the others stay as they are. All of them for None.

    Returns:
        The files, and the number of rows changed.
    """
    step = round(1 / ratio)
    changed = 0

    def change(number: int, lines: list[bytes]) -> list[bytes]:
        nonlocal changed
        if only is not None and files.days[number] not in only:
            return lines
        # Another row each day, or one symbol would change all year and the others never.
        for index in range(number % step, len(lines), step):
            cells = lines[index].split(b",")
            volume = cells[VOLUME_COLUMN]
            cells[VOLUME_COLUMN] = b"100" if volume == b"0" else b"1" + volume
            lines[index] = b",".join(cells)
            changed += 1
        return lines

    return _rewrite(files, folder, change), changed


def _rewrite(
    files: DayFiles, folder: Path, change: Callable[[int, list[bytes]], list[bytes]]
) -> DayFiles:
    folder.mkdir(parents=True)
    for number, day in enumerate(files.days):
        header, *lines = files.file_of(day).read_bytes().splitlines()
        text = b"\n".join([header, *change(number, lines), b""])
        (folder / f"{day.isoformat()}.csv").write_bytes(text)
    return replace(files, folder=folder)


def _first_sessions(count: int, cache_dir: Path, first_day: date) -> tuple[date, ...]:
    calendar = open_calendar("XSHG", cache_dir, today=FIRST_DAY)
    found = tuple(sorted(day for day in calendar.sessions if day >= first_day)[:count])
    if len(found) < count:
        raise ValueError(f"{len(found)} sessions from {first_day} are known, expected {count}")
    return found


def _symbols(count: int) -> list[str]:
    """Canonical symbols in the order vendors list them: by code."""
    shenzhen = [f"{code:06d}.SZ" for code in range(1, 1 + (count + 1) // 2)]
    return shenzhen + [f"{600_000 + code}.SH" for code in range(count // 2)]


def _iter_days(days: Sequence[date], count: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng(_SEED)
    symbols = pa.array(_symbols(count))
    close = rng.integers(200, 30_000, count)
    for day in days:
        previous, close = close, close + close * rng.integers(-400, 401, count) // 10_000
        close = np.maximum(close, 100)
        opened = previous + previous * rng.integers(-150, 151, count) // 10_000
        idle = rng.integers(0, 1_000, count) < _IDLE_PER_MILLE
        close, opened = np.where(idle, previous, close), np.where(idle, previous, opened)
        spread = np.where(idle, 0, close * rng.integers(0, 200, count) // 10_000)
        high = np.maximum(opened, close) + spread
        low = np.minimum(opened, close) - spread
        volume = np.where(idle, 0, rng.integers(1, 500_000, count) * 100)
        amount = volume * ((high + low) // 2)
        hundredths = (opened, high, low, close, previous)
        columns = [
            symbols,
            pa.repeat(pa.scalar(day), count),
            *(_hundredths(values) for values in hundredths),
            pa.array(volume),
            _hundredths(amount),
        ]
        yield pa.table(columns, names=list(COLUMNS))


def _hundredths(values: np.ndarray) -> pa.Array:
    """Integers as decimals with two places."""
    whole = pa.array(values, pa.int64()).cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(pa.decimal128(19, 2), len(whole), whole.buffers())
