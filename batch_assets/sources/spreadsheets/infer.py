"""Propose a template from an example file, with the evidence for each choice.

A proposal is for a person to read and correct. It leans to the safe side: what has leading zeros,
or is longer than a number keeps, is text.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.cell_rules import CellRule
from batch_assets.sources.spreadsheets.cell_types import type_column
from batch_assets.sources.spreadsheets.cells import CellColumn, Kind, SheetBlock
from batch_assets.sources.spreadsheets.formats import ReadOptions, open_sheets
from batch_assets.sources.spreadsheets.header import SEARCH_ROWS, name_columns
from batch_assets.sources.spreadsheets.template import ColumnTemplate

# Enough to see what a column holds; the template says what it has to hold.
SAMPLE_ROWS = 20_000
_MAX_ALLOWED = 12
_ALLOWED_SHARE = 20  # rows for each distinct value, at least, to call them a list of choices
_MAX_ALLOWED_LENGTH = 40
_NUMBER_DIGITS = 15


@dataclass(slots=True)
class InferredColumn:
    """A proposed column.

    Attributes:
        name: For the table.
        header: As the file has it.
        type: Declared type.
        evidence: Why, in words.
        allowed: Distinct values, where they look like a list of choices.
        is_required: Whether every row has a value.
        is_unique: Whether no value stands there twice.
        date_formats: Forms that dates need besides the usual ones.
        decimal_comma: Whether numbers are written 1.234,50.
    """

    name: str
    header: str
    type: str
    evidence: str
    allowed: tuple[str, ...] = ()
    is_required: bool = False
    is_unique: bool = False
    date_formats: tuple[str, ...] = ()
    decimal_comma: bool = False


@dataclass(slots=True)
class InferredTemplate:
    """A proposal for one sheet.

    Attributes:
        key: The first column, or pair of columns, that is unique; empty if none is.
        rows: Rows that were looked at.
        notes: Columns of the file that are not in the proposal.
    """

    file: str
    sheet: str
    header_row: int
    columns: tuple[InferredColumn, ...]
    key: tuple[str, ...]
    rows: int
    notes: tuple[str, ...] = field(default=())


def infer_template(path: Path) -> InferredTemplate:
    """Look at the first sheet with a table.

    Raises:
        UnreadableSource: The file cannot be read, or has no table.
    """
    for sheet in open_sheets(path, path.name, ReadOptions()):
        blocks = _sample(sheet.blocks)
        if not any(block.filled().any() for block in blocks):
            continue
        return _infer(path.name, sheet.name, blocks)
    raise UnreadableSource(
        f"{path.name}: has no cell in any sheet, expected a table with a header; give a file with "
        "some rows"
    )


def _sample(blocks: Iterator[SheetBlock]) -> list[SheetBlock]:
    held: list[SheetBlock] = []
    rows = 0
    for block in blocks:
        held.append(block)
        rows += len(block)
        if rows >= SAMPLE_ROWS:
            break
    return held


def _infer(file: str, sheet: str, blocks: Sequence[SheetBlock]) -> InferredTemplate:
    header_row, headers = _guess_header(blocks)
    headers, notes = _without_repeated(file, sheet, headers)
    names = name_columns(headers.values(), ())
    columns: list[InferredColumn] = []
    cells_of: dict[str, pa.Array] = {}
    rows = sum(int((block.filled() & (block.rows > header_row)).sum()) for block in blocks)
    by_header = {header: name for name, header in names.items()}
    for place, header in headers.items():
        parts = [
            block.filter((block.rows > header_row) & block.filled()).column(place)
            for block in blocks
        ]
        cells = _joined(parts)
        column = _infer_column(by_header[header], header, cells, is_1904=blocks[0].is_1904)
        columns.append(column)
        cells_of[column.name] = cells.texts
    return InferredTemplate(
        file=file,
        sheet=sheet,
        header_row=header_row,
        columns=tuple(columns),
        key=_guess_key(columns, cells_of),
        rows=rows,
        notes=notes,
    )


def _without_repeated(
    file: str, sheet: str, headers: Mapping[int, str]
) -> tuple[dict[int, str], tuple[str, ...]]:
    """Headers that stand in one column alone, and what is to be said of the others.

    Raises:
        UnreadableSource: There are no others.
    """
    places: dict[str, list[int]] = {}
    for place, header in headers.items():
        places.setdefault(header, []).append(place)
    repeated = {header: found for header, found in places.items() if len(found) > 1}
    if len(repeated) == len(places):
        raise UnreadableSource(
            f"{file}, sheet {sheet!r}: every header stands in several columns "
            f"({', '.join(map(repr, repeated))}), expected names that tell columns apart; rename "
            "them in the file"
        )
    notes = tuple(
        f"left out: {header!r} is the header of {len(found)} columns; rename them in the file"
        for header, found in repeated.items()
    )
    return {place: name for place, name in headers.items() if name not in repeated}, notes


def _guess_header(blocks: Sequence[SheetBlock]) -> tuple[int, dict[int, str]]:
    """The first row as wide as the table that has nothing but texts."""
    lines: list[tuple[int, dict[int, str], bool]] = []
    for block in blocks:
        for index in np.flatnonzero(block.filled()).tolist():
            texts = block.row_texts(index)
            kinds = {int(block.column(place).kinds[index]) for place in texts}
            lines.append((int(block.rows[index]), texts, kinds <= {Kind.TEXT}))
            if len(lines) >= SEARCH_ROWS:
                break
    width = max(len(texts) for _, texts, _ in lines)
    for row, texts, is_text in lines:
        if is_text and len(texts) >= max(1, int(0.8 * width)):
            return row, {place: " ".join(text.split()) for place, text in texts.items()}
    row, texts, _ = lines[0]
    return row, dict(texts)


def _joined(parts: Sequence[CellColumn]) -> CellColumn:
    pads = None
    if any(part.pads is not None for part in parts):
        pads = np.concatenate(
            [np.zeros(len(p.kinds), np.uint8) if p.pads is None else p.pads for p in parts]
        )
    return CellColumn(
        pa.concat_arrays([part.texts for part in parts]),
        np.concatenate([part.kinds for part in parts]),
        pads,
    )


def _infer_column(name: str, header: str, cells: CellColumn, *, is_1904: bool) -> InferredColumn:
    counts = cells.count()
    filled = len(cells.kinds) - int(counts[Kind.EMPTY])
    column = InferredColumn(name, header, "text", "no value was seen")
    if filled:
        _choose_type(column, cells, is_1904=is_1904)
        column.is_required = filled == len(cells.kinds)
        texts = [text for text in cells.texts.to_pylist() if text is not None]
        distinct = Counter(texts)
        column.is_unique = column.is_required and len(distinct) == len(texts)
        if column.type == "text":
            column.allowed = _choices(distinct, len(texts))
    errors = int(counts[Kind.ERROR] + counts[Kind.UNCALCULATED])
    if errors:
        column.evidence += f"; {errors} error cells or formulas without a result"
    return column


def _choose_type(column: InferredColumn, cells: CellColumn, *, is_1904: bool) -> None:
    counts = cells.count()
    filled = len(cells.kinds) - int(counts[Kind.EMPTY])
    reason = _why_text(cells)
    if reason:
        column.evidence = reason
        return
    if counts[Kind.BOOLEAN] == filled:
        column.type, column.evidence = "boolean", f"{filled} truth values"
        return
    for declared, more in _trials(cells):
        trial = ColumnTemplate(name="x", type=declared, **more)
        typed = type_column(cells, trial, is_1904=is_1904)
        bad = typed.problems > CellRule.FORMULA_WITHOUT_VALUE
        # One typing error in a hundred cells does not make a column of amounts a text.
        if bad.sum() <= filled // 100 and typed.values.null_count < len(typed.values):
            column.type = _narrowed(declared, typed.values)
            column.decimal_comma = bool(more.get("decimal_comma", False))
            column.date_formats = more.get("date_formats", ())
            good = len(typed.values) - typed.values.null_count
            column.evidence = f"{good} of {filled} values"
            if bad.any():
                index = int(np.flatnonzero(bad)[0])
                column.evidence += f"; not one: {cells.texts[index].as_py()!r}"
            return
    column.evidence = f"{filled} texts"


def _trials(cells: CellColumn) -> Iterator[tuple[str, dict[str, Any]]]:
    """Types to try with their settings, the narrowest first."""
    dates: tuple[dict[str, Any], ...] = (
        {},
        {"date_formats": ("%d.%m.%Y",)},
        {"date_formats": ("%d/%m/%Y",)},
        {"date_formats": ("%m/%d/%Y",)},
        {"date_formats": ("dd-Mon-YYYY",)},
    )
    if _are_days(cells):
        yield "date", {"date_formats": ("YYYYMMDD",)}
    if cells.count()[Kind.TEXT] or cells.count()[Kind.SERIAL] or cells.count()[Kind.ISO]:
        yield from (("date", more) for more in dates)
        yield from (("timestamp", more) for more in dates)
        yield "time", {}
    yield "integer", {}
    yield "decimal(18,4)", {}
    yield "decimal(28,10)", {}
    yield "decimal(18,4)", {"decimal_comma": True}
    yield "boolean", {"true": ("true", "yes", "y", "是"), "false": ("false", "no", "n", "否")}


def _are_days(cells: CellColumn) -> bool:
    """Whether numbers are all like 20240930."""
    texts = [text for text in cells.texts.to_pylist() if text is not None]
    return bool(texts) and all(
        re.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])", text) for text in texts
    )


def _why_text(cells: CellColumn) -> str:
    if cells.pads is not None and cells.pads.any():
        return f"numbers shown with leading zeros ({int(cells.pads.max())} digits)"
    for text, kind in zip(cells.texts.to_pylist(), cells.kinds, strict=True):
        if kind == Kind.TEXT and re.fullmatch(r"0\d+", text.strip()):
            return f"leading zeros: {text.strip()}"
        if kind == Kind.TEXT and re.fullmatch(rf"\d{{{_NUMBER_DIGITS + 1},}}", text.strip()):
            return f"more digits than a number keeps: {text.strip()}"
    return ""


def _narrowed(declared: str, values: pa.Array) -> str:
    """Two decimals where no value has more."""
    if not declared.startswith("decimal(18"):
        return declared
    two = pa.decimal128(18, 2)
    try:
        values.cast(two)
    except pa.ArrowInvalid:
        return declared
    return "decimal(18,2)"


def _choices(distinct: Counter[str], count: int) -> tuple[str, ...]:
    if not 1 < len(distinct) <= _MAX_ALLOWED or count < _ALLOWED_SHARE * len(distinct):
        return ()
    if max(len(text) for text in distinct) > _MAX_ALLOWED_LENGTH:
        return ()
    return tuple(sorted(text.strip() for text in distinct))


def _guess_key(columns: Sequence[InferredColumn], texts: dict[str, pa.Array]) -> tuple[str, ...]:
    """The first unique column that is no amount or date, else a unique pair of the first five."""
    names = [c.name for c in columns if c.is_unique and c.type in ("text", "integer")]
    if names:
        return (names[0],)
    usable = [c.name for c in columns if c.is_required and not c.type.startswith("decimal")][:5]
    for first, second in ((a, b) for i, a in enumerate(usable) for b in usable[i + 1 :]):
        pairs = list(zip(texts[first].to_pylist(), texts[second].to_pylist(), strict=True))
        if len(set(pairs)) == len(pairs) > 1:
            return (first, second)
    return ()
