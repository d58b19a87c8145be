"""From blocks of cells to typed rows and rejected rows, each refused cell with its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from batch_assets.contracts.batch import RejectedRow, SourceCell, Violation
from batch_assets.sources.spreadsheets.cell_limits import check_limits
from batch_assets.sources.spreadsheets.cell_rules import CellRule, expected_of, hint_of
from batch_assets.sources.spreadsheets.cell_types import type_column
from batch_assets.sources.spreadsheets.cells import CellColumn, Kind, SheetBlock, column_letters
from batch_assets.sources.spreadsheets.column_types import TypeName
from batch_assets.sources.spreadsheets.contract import template_contract
from batch_assets.sources.spreadsheets.header import Header
from batch_assets.sources.spreadsheets.moments import from_serials
from batch_assets.sources.spreadsheets.template import ColumnTemplate, SpreadsheetTemplate


@dataclass(frozen=True, slots=True)
class Arrival:
    """Which file is read, and when it arrived.

    Attributes:
        file: Name shown in ledgers and dead letters.
        day: Partition that its rows belong to.
        extra: Columns added to the table for unknown headers, by name (evolve).
    """

    file: str
    day: date
    extra: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """What became of the rows of one block.

    Attributes:
        read_rows: Rows with a cell, header and title left out.
        rows: Good rows, with the contract's columns.
        rejected: The others.
        skipped_rows: Rows left out on purpose: totals, repeated headers, hidden rows.
    """

    read_rows: int
    rows: pa.RecordBatch
    rejected: tuple[RejectedRow, ...]
    skipped_rows: int = 0


class Judge:
    """Applies a template to the blocks of one sheet."""

    def __init__(self, template: SpreadsheetTemplate, header: Header, arrival: Arrival) -> None:
        self._template = template
        self._header = header
        self._arrival = arrival
        self._schema = template_contract(template, arrival.extra).columns

    def judge(self, block: SheetBlock, *, read_rows: int) -> JudgedRows:
        """Type every column, and split the rows into good and rejected ones.

        Args:
            block: Rows of data alone.
            read_rows: How many rows the reader counted, those that were skipped included.
        """
        arrays: list[pa.Array] = []
        problems: dict[str, np.ndarray] = {}
        for column in self._template.columns:
            cells = self._cells(block, column.name)
            typed = type_column(cells, column, is_1904=block.is_1904)
            check_limits(typed, column, is_key=column.name in self._template.key)
            arrays.append(typed.values)
            if typed.problems.any():
                problems[column.name] = typed.problems
        arrays += self._extra(block)
        bad = np.zeros(len(block), bool)
        for found in problems.values():
            bad |= found > 0
        rows = pa.RecordBatch.from_arrays([*arrays, *self._places(block)], schema=self._schema)
        if bad.any():
            rows = rows.filter(pa.array(~bad))
        return JudgedRows(
            read_rows=read_rows,
            rows=rows,
            rejected=tuple(self._rejects(block, np.flatnonzero(bad).tolist(), problems)),
            skipped_rows=read_rows - len(block),
        )

    def _cells(self, block: SheetBlock, name: str) -> CellColumn:
        place = self._header.places.get(name)
        return block.column(-1 if place is None else place)

    def _extra(self, block: SheetBlock) -> list[pa.Array]:
        """Columns that the template does not name, as the text that a person sees."""
        arrays = []
        by_header = {name: place for place, name in self._header.unknown().items()}
        for name, header in self._arrival.extra.items():
            cells = block.column(by_header.get(header, -1))
            column = ColumnTemplate(name=name, type=TypeName.TEXT)
            # An error cell in a column nobody asked for costs no row; its name is its text.
            kinds = np.where(cells.kinds == Kind.ERROR, Kind.TEXT, cells.kinds).astype(np.uint8)
            cells = CellColumn(cells.texts, kinds, cells.pads)
            arrays.append(type_column(cells, column, is_1904=block.is_1904).values)
        return arrays

    def _places(self, block: SheetBlock) -> list[pa.Array]:
        count = len(block)
        return [
            pa.repeat(pa.scalar(self._arrival.day, pa.date32()), count),
            pa.repeat(pa.scalar(self._arrival.file), count),
            pa.repeat(pa.scalar(block.sheet), count),
            pa.array(block.rows),
        ]

    def _rejects(
        self, block: SheetBlock, indices: Sequence[int], problems: Mapping[str, np.ndarray]
    ) -> list[RejectedRow]:
        return [
            RejectedRow(
                file=self._arrival.file,
                sheet=block.sheet,
                row=int(block.rows[index]),
                violations=tuple(
                    self._violation(block, index, name, CellRule(found[index]))
                    for name, found in problems.items()
                    if found[index]
                ),
                original=original_row(block, index, self._header),
                window_value=self._arrival.day,
                layout=row_layout(block, index, self._header),
            )
            for index in indices
        ]

    def _violation(self, block: SheetBlock, index: int, name: str, rule: CellRule) -> Violation:
        column = self._template.column(name)
        place = self._header.places.get(name)
        cells = self._cells(block, name)
        return Violation(
            rule=rule.label,
            column=name,
            observed=shown_cell(cells, index, is_1904=block.is_1904),
            expected=expected_of(rule, column),
            hint=hint_of(rule),
            cell="" if place is None else f"{column_letters(place)}{int(block.rows[index])}",
        )


def original_row(block: SheetBlock, index: int, header: Header) -> dict[str, str | None]:
    """The cells of one row by the file's own names, as a person sees them."""
    return {
        header.name_of(place): shown_cell(block.column(place), index, is_1904=block.is_1904)
        for place in _filled_places(block, index, header)
    }


def row_layout(block: SheetBlock, index: int, header: Header) -> tuple[SourceCell, ...]:
    """What `original_row` does not say of the same cells, so that they can be judged again."""
    columns = {place: name for name, place in header.places.items()}
    layout = []
    for place in _filled_places(block, index, header):
        cells = block.column(place)
        raw: str | None = cells.texts[index].as_py()
        shown = shown_cell(cells, index, is_1904=block.is_1904)
        is_padded = cells.pads is not None and bool(cells.pads[index])
        # The zeros that a format fills up with belong to the value as soon as it is text.
        kind = Kind.TEXT if is_padded else Kind(cells.kinds[index])
        layout.append(
            SourceCell(
                name=header.name_of(place),
                kind=kind_name(kind, is_1904=block.is_1904),
                column=columns.get(place, ""),
                raw=None if is_padded or raw == shown else raw,
                place=place,
            )
        )
    return tuple(layout)


def kind_name(kind: Kind, *, is_1904: bool) -> str:
    """A kind in words, with the date system where it matters."""
    return f"{kind.name.lower()}_1904" if kind is Kind.SERIAL and is_1904 else kind.name.lower()


def _filled_places(block: SheetBlock, index: int, header: Header) -> list[int]:
    return [
        place
        for place in sorted({*header.names, *block.columns})
        if place in header.names or block.column(place).kinds[index] != Kind.EMPTY
    ]


def shown_cell(cells: CellColumn, index: int, *, is_1904: bool) -> str | None:
    """A cell as a person sees it; None where it is empty."""
    text: str | None = cells.texts[index].as_py()
    match Kind(cells.kinds[index]):
        case Kind.UNCALCULATED:
            return "a formula without a result"
        case Kind.BOOLEAN:
            return "TRUE" if text == "1" else "FALSE"
        case Kind.SERIAL if text is not None:
            return _shown_serial(text, is_1904=is_1904)
        case Kind.NUMBER if text is not None and cells.pads is not None:
            return text.rjust(int(cells.pads[index]), "0")
        case _:
            return text


def _shown_serial(text: str, *, is_1904: bool) -> str:
    found = from_serials(pa.array([text]), is_1904=is_1904)
    if found.bad[0]:
        return text
    moment = np.datetime64(int(found.milliseconds[0]), "ms")
    day = moment.astype("datetime64[D]")
    return str(day) if day == moment else str(moment).replace("T", " ").removesuffix(".000")
