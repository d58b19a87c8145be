"""Cells of a sheet to lines of text: what a person reads in the sheet, tab between cells."""

import datetime as dt
from collections.abc import Iterable

Cell = int | float | str | bool | dt.time | dt.date | dt.datetime | dt.timedelta | None


def row_text(row: Iterable[Cell]) -> str:
    """One line; empty cells at the end are left off."""
    return "\t".join(cell_text(cell) for cell in row).rstrip("\t ")


def cell_text(cell: Cell) -> str:
    """A cell on one line: 42 for 42.0, TRUE, 2024-09-30."""
    if cell is None or cell == "":
        return ""
    if isinstance(cell, str):
        return " ".join(repaired_text(cell).split())
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        # Sheets store every number as a double; 15 digits are what they show.
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else f"{cell:.15g}"
    if isinstance(cell, dt.datetime):
        return cell.isoformat(" ")
    return cell.isoformat() if isinstance(cell, dt.date | dt.time) else str(cell)


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
