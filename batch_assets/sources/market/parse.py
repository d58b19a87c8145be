"""Raw cells of one feed to typed bars, and the reasons where a row cannot be typed.

Whether a typed bar is plausible belongs in contract.py; how cells are read in csv_blocks.py and
workbooks.py.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.batch import (
    POSITION_SCHEMA,
    Original,
    RejectedRow,
    SourceBatch,
    Violation,
)
from batch_assets.sources.market.columns import NUMBERS
from batch_assets.sources.market.contract import COLUMNS, NUMBER_TYPES
from batch_assets.sources.market.feed import Feed
from batch_assets.sources.market.numbers import (
    ROUNDING_RULE,
    NumberColumn,
    adopt_decimals,
    adopt_texts,
    has_numbers,
    parse_numbers,
)
from batch_assets.sources.market.raw_table import RawTable
from batch_assets.sources.market.spellings import Spellings
from batch_assets.sources.market.status import apply_status

PARSER_VERSION = "1"
"""Raised when the same file would give other rows; part of every source hash."""

LINE = "line"
"""Name under which a record is kept whole that does not have the columns of its file."""


@dataclass(slots=True)
class BarParser:
    """Types the raw tables of one feed.

    Attributes:
        feed: The mapping.
        spellings: What is known of the feed's spellings; shared by the parsers of one source.
        notes: What happened to values without costing the row, counted by rule.
    """

    feed: Feed
    spellings: Spellings
    notes: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, NumberColumn] = field(init=False)
    _nulls: pa.Array = field(init=False)
    _nulls_have_numbers: bool = field(init=False)

    def __post_init__(self) -> None:
        units = {"volume": self.feed.volume_scale, "amount": self.feed.amount_scale}
        self.numbers = {
            name: NumberColumn(name, NUMBER_TYPES[name], units.get(name, self.feed.price_scale))
            for name in NUMBERS
        }
        self._nulls = pa.array(self.feed.nulls, pa.string())
        self._nulls_have_numbers = has_numbers(self.feed.nulls)

    def parse(self, raw: RawTable, day: date | None) -> SourceBatch:
        """Type one raw table.

        Args:
            raw: Cells of a piece of one file.
            day: The only trade date the file may hold; None if it holds many.

        Returns:
            A batch whose rows and rejected rows together are the rows read.
        """
        count = len(raw.rows)
        faults = _Faults(count)
        columns: dict[str, pa.Array] = {
            "trade_date": self._dates(raw, count, day, faults),
            "symbol": self._symbol_column(raw, count, faults),
        }
        for name, column in self.numbers.items():
            columns[name] = self._numbers(raw, column, count, faults)
        apply_status(columns, self._optional_text(raw.columns.get("status")), self.feed, count)
        columns["source"] = pa.repeat(pa.scalar(self.feed.source_name), count)
        columns["adjustment"] = pa.repeat(pa.scalar(str(self.feed.prices)), count)
        return self._assemble(raw, columns, faults, day)

    def _assemble(
        self, raw: RawTable, columns: dict[str, pa.Array], faults: "_Faults", day: date | None
    ) -> SourceBatch:
        rows = pa.RecordBatch.from_arrays([columns[name] for name in COLUMNS.names], schema=COLUMNS)
        originals = raw.originals
        lines = raw.rows
        rejected = [_malformed(raw, index, day) for index in range(len(raw.malformed))]
        if faults.violations:
            kept = faults.kept
            rejected += faults.rows(raw, columns["trade_date"], day)
            rows = rows.filter(pa.array(kept))
            places = np.flatnonzero(kept)
            lines = lines[places]

            def originals(indices: Sequence[int]) -> list[Original]:
                return raw.originals([int(places[index]) for index in indices])

        return SourceBatch(
            read_rows=raw.read_rows,
            rows=rows,
            positions=_positions(raw.file, lines),
            originals=originals,
            rejected=tuple(sorted(rejected, key=lambda row: row.row)),
            layout=raw.layout,
        )

    def _optional_text(self, values: pa.Array | None) -> pa.Array | None:
        return None if values is None else self._text(values)

    def _text(self, values: pa.Array) -> pa.Array:
        """Trimmed text without null spellings."""
        trimmed = pc.utf8_trim_whitespace(values)
        return pc.if_else(pc.is_in(trimmed, value_set=self._nulls), None, trimmed)

    def _dates(self, raw: RawTable, count: int, day: date | None, faults: "_Faults") -> pa.Array:
        values = raw.columns.get("date")
        if values is None:
            return pa.repeat(pa.scalar(day, pa.date32()), count)
        coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        if day is not None and self._says(coded, day):
            return pa.repeat(pa.scalar(day, pa.date32()), count)
        distinct = self.spellings.dates(coded.dictionary)
        dates = distinct.take(coded.indices)
        if dates.null_count:
            texts = self._text(coded.dictionary).take(coded.indices)
            faults.add_missing("trade_date", pc.is_null(texts))
            faults.add(
                "unparsable_date", "trade_date", pc.and_(pc.is_null(dates), pc.is_valid(texts)),
                observed=texts, expected=f"a date as {self.feed.date_format}",
                hint="correct the cell, or date_format of the feed",
            )  # fmt: skip
        if day is not None and distinct.to_pylist() != [day]:
            wrong = pc.fill_null(pc.not_equal(dates, pa.scalar(day, pa.date32())), False)
            faults.add(
                "wrong_date", "trade_date", wrong, observed=dates.cast(pa.string()),
                expected=f"{day.isoformat()}, the day of the file",
                hint="move the row to the file of its day",
            )  # fmt: skip
        return dates

    def _says(self, coded: pa.DictionaryArray, day: date) -> bool:
        """Whether every cell is the day in plain ISO form, as in almost every file of a day."""
        return (
            self.feed.date_format in ("auto", "iso")
            and not coded.null_count
            and coded.dictionary.to_pylist() == [day.isoformat()]
        )

    def _symbol_column(self, raw: RawTable, count: int, faults: "_Faults") -> pa.Array:
        rule = self.feed.symbol
        spelling = rule.from_file(raw.file)
        if "symbol" in raw.columns and not rule.value:
            spellings = raw.columns["symbol"]
            symbols = self.spellings.symbols(spellings, raw.columns.get("series"))
        else:
            symbol = rule.canonical(spelling or "")
            symbols = pa.repeat(pa.scalar(symbol, pa.string()), count)
            spellings = pa.repeat(pa.scalar(spelling or raw.file), count)
        if symbols.null_count:
            spellings = self._text(spellings)
            faults.add_missing("symbol", pc.is_null(spellings))
            faults.add(
                "unparsable_symbol", "symbol",
                pc.and_(pc.is_null(symbols), pc.is_valid(spellings)), observed=spellings,
                expected=rule.expected,
                hint="correct the code, or the symbol rule of the feed",
            )  # fmt: skip
        return symbols

    def _numbers(
        self, raw: RawTable, column: NumberColumn, count: int, faults: "_Faults"
    ) -> pa.Array:
        values = raw.columns.get(column.target)
        comma = raw.decimal_comma
        if values is None:
            return pa.nulls(count, column.type)
        parsed = None
        if pa.types.is_decimal(values.type):
            parsed = adopt_decimals(values, column)
            values = values if parsed else values.cast(pa.string())
            comma = False
        elif not comma and not self._nulls_have_numbers:
            parsed = adopt_texts(values, column)
        texts = None
        if parsed is None:
            texts = self._text(values)
            parsed = parse_numbers(texts, column, decimal_comma=comma)
        if parsed.bad is not None:
            faults.add(
                "unparsable_number", column.target, parsed.bad, observed=texts,
                expected=f"a finite number that fits {column.type}"
                + (", with a decimal comma" if comma else ""),
                hint="correct the cell, or add its spelling to nulls of the feed if it means none",
            )  # fmt: skip
        if parsed.rounded_count:
            self.notes[f"{ROUNDING_RULE}:{column.target}"] += parsed.rounded_count
        return parsed.values


class _Faults:
    """Violations of the rows of one table, in the order they are found."""

    def __init__(self, count: int) -> None:
        self.violations: dict[int, list[Violation]] = {}
        self._count = count

    @property
    def kept(self) -> np.ndarray:
        """True where a row has no violation."""
        kept = np.ones(self._count, bool)
        kept[list(self.violations)] = False
        return kept

    def add(
        self, rule: str, column: str, broken: pa.Array, *,
        observed: pa.Array, expected: str, hint: str,
    ) -> None:  # fmt: skip
        """Note a rule for the rows that break it."""
        indices = pc.indices_nonzero(broken)
        if not len(indices):
            return
        for index, value in zip(
            indices.to_pylist(), observed.take(indices).to_pylist(), strict=True
        ):
            violation = Violation(rule, column, value, expected, hint)
            self.violations.setdefault(index, []).append(violation)

    def add_missing(self, column: str, missing: pa.Array) -> None:
        """Note rows whose key column is empty."""
        self.add(
            "missing_value", column, missing, observed=pa.nulls(len(missing), pa.string()),
            expected="a value", hint="fill the cell in the source",
        )  # fmt: skip

    def rows(self, raw: RawTable, dates: pa.Array, day: date | None) -> list[RejectedRow]:
        """The rejected rows with their original cells."""
        indices = sorted(self.violations)
        window_values: list[Any] = dates.take(pa.array(indices, pa.int64())).to_pylist()
        return [
            RejectedRow(
                file=raw.file,
                row=int(raw.rows[index]),
                violations=tuple(self.violations[index]),
                original=original,
                window_value=day or window_value,
                layout=raw.layout,
            )
            for index, original, window_value in zip(
                indices, raw.originals(indices), window_values, strict=True
            )
        ]


def _malformed(raw: RawTable, index: int, day: date | None) -> RejectedRow:
    record = raw.malformed[index]
    violation = Violation(
        rule="wrong_field_count",
        column="",
        observed=f"{record.field_count} fields",
        expected=f"{raw.column_count} fields",
        hint="the line was cut, or a value holds the delimiter and is not quoted",
    )
    original = {LINE: record.text}
    return RejectedRow(raw.file, record.row, (violation,), original, day, layout=raw.layout)


def _positions(file: str, lines: np.ndarray) -> pa.RecordBatch:
    places = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(len(lines), np.int32)), pa.array([file])
    )
    return pa.RecordBatch.from_arrays([places, pa.array(lines, pa.int64())], schema=POSITION_SCHEMA)
