"""Corrected bars back into the day that rejected them.

A row is parsed and judged as its feed's files are; what all domains have in common is in
corrections/.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa

from batch_assets.contracts.batch import Original, Violation
from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.contracts.table import Window
from batch_assets.contracts.validate import validate_batch
from batch_assets.errors import ConfigurationError, StaleAnswer
from batch_assets.ingest.corrections.answered import LetterWindow
from batch_assets.ingest.corrections.still_wrong import write_still_wrong
from batch_assets.ingest.corrections.windows import JudgedRows, ReplayDomain, replay_windows
from batch_assets.ingest.corrections.workbook import CorrectedWorkbook, WorkbookReplay
from batch_assets.ingest.market.aliases import read_names, rename_symbols
from batch_assets.ingest.market.correctable import correctable_bar, is_typed
from batch_assets.ingest.market.daily_bars import UNDATED, contract_of, scope_of
from batch_assets.loading.leases import Connector
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import belonging_rules, join_batches
from batch_assets.sources.market.columns import locate
from batch_assets.sources.market.contract import SUSPENDED
from batch_assets.sources.market.feed import Feed, FileFeed
from batch_assets.sources.market.parse import BarParser
from batch_assets.sources.market.raw_table import DATE_COLUMN, RawTable, layout_of
from batch_assets.sources.market.spellings import Spellings
from batch_assets.sources.market.symbols import SymbolRule
from batch_assets.sources.spreadsheets.cells import Kind
from batch_assets.sources.spreadsheets.correctable import CorrectableRow, shown_given
from batch_assets.sources.spreadsheets.corrections import CorrectedRow

TARGET = "market.daily_bars"
_NUMBER = Kind.NUMBER.name.lower()


def replay_bars(
    connect: Connector,
    feeds: Mapping[str, Feed],
    workbook: CorrectedWorkbook,
    *,
    who: str,
    options_of: Callable[[Feed], LoadOptions],
    error_folder: Path,
) -> WorkbookReplay:
    """Judge corrected bars again, and load those that are right now into their days.

    Args:
        connect: Opens a connection.
        feeds: By name; that of a row is the one that writes its source.
        workbook: The answers.
        who: Whose they are.
        options_of: Bounds of a load of a feed.
        error_folder: Where the workbook of what is still wrong goes.

    Raises:
        ConfigurationError: No feed writes the source of a row, or several do.
        StaleAnswer: Rows are answered otherwise, or have moved on; nothing was changed.
        LeaseHeld: Somebody else is writing the day.
    """
    domain = ReplayDomain(
        target=TARGET,
        words="the feeds of [market]",
        open_window=partial(_open_day, feeds, workbook.file),
        options_of=lambda window: options_of(_feed_of(feeds, window.scope)),
        write_errors=lambda conn, load_id: write_still_wrong(
            conn, TARGET, load_id, error_folder, correctable_bar
        ),
    )
    return replay_windows(connect, domain, workbook, who=who)


def _feed_of(feeds: Mapping[str, Feed], source: str) -> Feed:
    fitting = [feed for feed in feeds.values() if feed.source_name == source]
    if len(fitting) == 1:
        return fitting[0]
    named = ", ".join(feed.name for feed in fitting) or "no feed"
    raise ConfigurationError(
        f"rows of source {source!r} are written by {named} of [market.feeds], expected exactly "
        "one, whose rules they are judged by; name the feed with --template, or add it"
    )


def _open_day(
    feeds: Mapping[str, Feed], file: str, conn: psycopg.Connection, window: LetterWindow
) -> "_DayRows":
    if window.key == UNDATED.key:
        raise StaleAnswer(
            f"{file}: has rows without a readable date, which belong to no day; nothing was "
            "changed; correct them in the source and load the feed again, and leave them out here"
        )
    feed = _feed_of(feeds, window.scope)
    day = date.fromisoformat(window.key)
    return _DayRows(feed, day, read_names(conn, feed.source_name, day))


class _DayRows:
    """Judges rows of one trade date by their feed."""

    def __init__(self, feed: Feed, day: date, names: Mapping[str, str]) -> None:
        self._feed = feed
        self._day = day
        self._names = names
        self.contract = contract_of(feed)
        self.scope = scope_of(feed)
        self.window = Window.of_day(day)
        self._rules = belonging_rules(self.contract, self.scope, self.window)

    def correctable(self, letter: DeadLetter) -> CorrectableRow:
        return correctable_bar(letter)

    def judge(self, rows: Sequence[CorrectedRow]) -> JudgedRows:
        groups: dict[tuple[str, bool], list[CorrectedRow]] = {}
        for row in rows:
            letter = row.row.letter
            groups.setdefault((letter.source_file, is_typed(letter)), []).append(row)
        good: list[pa.RecordBatch] = []
        letters: list[DeadLetter] = []
        refused: dict[int, tuple[Violation, ...]] = {}
        for (file, typed), group in groups.items():
            judged = self._judge_file(file, group, is_typed=typed)
            good.append(judged.rows)
            letters += judged.letters
            refused |= judged.refused
        return JudgedRows(join_batches(self.contract, good), letters, refused)

    def _judge_file(
        self, file: str, group: Sequence[CorrectedRow], *, is_typed: bool
    ) -> JudgedRows:
        feed = _feed_of_typed_rows(self._feed) if is_typed else self._feed
        # Typed rows hold what the table's numbers look like, whatever the file's are.
        comma = not is_typed and isinstance(feed, FileFeed) and feed.decimal == ","
        raw = _raw_table(file, group, feed, decimal_comma=comma)
        batch = BarParser(feed, Spellings(feed)).parse(raw, self._day)
        batch = rename_symbols(batch, self._names)
        validated = validate_batch(batch, self.contract, self._rules)
        found = [group[number] for number in validated.positions.column("row").to_pylist()]
        return JudgedRows(
            rows=validated.rows,
            letters=[row.row.letter for row in found],
            refused={
                group[reject.row].dead_letter_id: reject.violations for reject in validated.rejected
            },
        )


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of one corrected row, as text.

    Attributes:
        by_name: As the file names them.
        by_column: As the parser names them.
    """

    by_name: Original
    by_column: Original


def _cells_of(row: CorrectedRow, feed: Feed, *, decimal_comma: bool) -> _Cells:
    texts, read = {}, {}
    for cell, (given, kind) in zip(row.row.layout, row.cells, strict=True):
        text = texts[cell.name] = read[cell.name] = shown_given(given, kind)
        if decimal_comma and kind == _NUMBER and text:
            # The cell is a number, and its point none of the file's spelling.
            read[cell.name] = text.replace(".", ",")
    layout = row.row.layout
    if not any(cell.column for cell in layout) and isinstance(feed, FileFeed):
        # Kept before dead letters said which column is which.
        names = [cell.name for cell in layout]
        layout = layout_of(names, locate(feed.columns, tuple(names))[0])
    meant = {
        "date" if cell.column == DATE_COLUMN else cell.column: read[cell.name]
        for cell in layout
        if cell.column
    }
    return _Cells(texts, meant)


def _raw_table(
    file: str, group: Sequence[CorrectedRow], feed: Feed, *, decimal_comma: bool
) -> RawTable:
    """Corrected rows as if they were a file; the number of a row is its place in the group."""
    cells = [_cells_of(row, feed, decimal_comma=decimal_comma) for row in group]
    targets = dict.fromkeys(name for row in cells for name in row.by_column)
    return RawTable(
        file=file,
        columns={
            name: pa.array([row.by_column.get(name) for row in cells], pa.string())
            for name in targets
        },
        rows=np.arange(len(group), dtype=np.int64),
        read_rows=len(group),
        column_count=len(targets),
        originals=lambda indices: [cells[index].by_name for index in indices],
        decimal_comma=decimal_comma,
    )


def _feed_of_typed_rows(feed: Feed) -> Feed:
    """The same feed for rows in the units and spellings of the table."""
    return feed.model_copy(
        update={
            "symbol": SymbolRule(),
            "date_format": "iso",
            "volume_unit": "share",
            "amount_scale": Decimal(1),
            "price_scale": Decimal(1),
            "suspended_values": (SUSPENDED,),
        }
    )
