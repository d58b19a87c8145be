"""Cells of a sheet to lines of text: what a person reads in the sheet, tab between cells."""

import datetime as dt
from collections.abc import Callable, Iterable

Cell = int | float | str | bool | dt.time | dt.date | dt.datetime | dt.timedelta | None


def row_text(row: Iterable[Cell]) -> str:
    """One line; empty cells at the end are left off."""
    return "\t".join([_WRITERS.get(type(cell), str)(cell) for cell in row]).rstrip("\t ")


def cell_text(cell: Cell) -> str:
    """A cell on one line: 42 for 42.0, TRUE, 2024-09-30."""
    return _WRITERS.get(type(cell), str)(cell)


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else " ".join(repaired_text(text).split())


# By exact type: a sheet has millions of cells, and most are one of the first two.
_WRITERS: dict[type, Callable[..., str]] = {
    str: _on_one_line,
    # Sheets store every number as a double; 15 digits are what they show.
    float: lambda number: f"{number:.15g}",
    bool: lambda value: "TRUE" if value else "FALSE",
    dt.datetime: lambda moment: moment.isoformat(" "),
    dt.date: lambda day: day.isoformat(),
    dt.time: lambda time: time.isoformat(),
    type(None): lambda _: "",
}


def repaired_text(text: str) -> str:
    """Undo two-byte text that was decoded byte by byte; anything else is returned as it is.

    Some .xls strings come out of the reader with a NUL after each letter.
    """
    if "\x00" not in text:
        return text
    for single_byte in ("latin-1", "cp1252"):
        try:
            raw = text.encode(single_byte)
            return raw[: len(raw) // 2 * 2].decode("utf-16-le")
        except UnicodeError:
            continue
    return text
