"""Cells of a file before they mean anything, in whatever form the reader could bring them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from batch_assets.contracts.batch import Original, SourceCell

DATE_COLUMN = "trade_date"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A record that does not have the columns of the file."""

    row: int
    text: str
    field_count: int


@dataclass(frozen=True, slots=True)
class RawTable:
    """A piece of a file.

    Attributes:
        file: Name in the feed's folder, as positions show it.
        columns: By target: text, dictionary-encoded text, or decimals the reader parsed.
        rows: 1-based line (or sheet row) of each row, int64.
        read_rows: Records counted without the parser.
        column_count: Columns a record should have.
        malformed: Records with another number of fields.
        originals: Original cells of rows by index.
        layout: What each column of the file is meant for, in its order.
        decimal_comma: Whether numbers that are text are written `1.234,5`.
    """

    file: str
    columns: dict[str, pa.Array]
    rows: np.ndarray
    read_rows: int
    column_count: int
    originals: Callable[[Sequence[int]], list[Original]]
    malformed: tuple[Malformed, ...] = ()
    layout: tuple[SourceCell, ...] = ()
    decimal_comma: bool = False


def layout_of(names: Sequence[str], places: Mapping[str, int]) -> tuple[SourceCell, ...]:
    """Columns of a file as dead letters keep them.

    Args:
        names: Of all columns, in order; of equal ones the last stands for all, as in `originals`.
        places: Column by what is read from it, from 0.
    """
    meant = {place: DATE_COLUMN if name == "date" else name for name, place in places.items()}
    last = {name: place for place, name in enumerate(names)}
    return tuple(
        SourceCell(name, "text", meant.get(place, ""), None, place) for name, place in last.items()
    )
