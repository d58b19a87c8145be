"""Sheets through calamine, for what no other reader here opens.

calamine gives error cells as empty ones and holds a whole sheet; callers add what it loses and
check the extent first.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

from batch_assets.sources.spreadsheets.cells import (
    Kind,
    PythonCell,
    SheetBlock,
    blocks_of_rows,
    cell_of,
)
from batch_assets.sources.spreadsheets.preflight import FileRefused, Refusal, refuse_password

Overlay = Mapping[tuple[int, int], str]
"""Error cells by 1-based row and 0-based column."""


def read_with_calamine(
    path: Path, file: str, errors: Mapping[str, Overlay] | None = None
) -> Iterator[tuple[str, bool, Iterator[SheetBlock]]]:
    """Sheets with name, whether hidden, and blocks.

    Args:
        path: The file, checked by preflight.py.
        file: Its name for messages.
        errors: Error cells of each sheet, found by another look at the file.

    Raises:
        FileRefused: It cannot be opened, or wants a password.
    """
    from python_calamine import (
        CalamineError,
        CalamineWorkbook,
        PasswordError,
        SheetTypeEnum,
        SheetVisibleEnum,
    )

    try:
        with CalamineWorkbook.from_path(path) as workbook:
            for meta in workbook.sheets_metadata:
                if meta.typ is not SheetTypeEnum.WorkSheet:
                    continue
                rows = workbook.get_sheet_by_name(meta.name).to_python(skip_empty_area=False)
                blocks = blocks_of_rows(meta.name, _rows(rows, (errors or {}).get(meta.name, {})))
                yield meta.name, meta.visible is not SheetVisibleEnum.Visible, blocks
    except PasswordError:
        refuse_password(file)
    except CalamineError as error:
        raise FileRefused(
            f"{file}: is not a readable workbook ({error}), expected one that a spreadsheet "
            "program opens; save it again as .xlsx",
            Refusal.CORRUPT,
        ) from error


def _rows(
    rows: Sequence[Sequence[object]], errors: Overlay
) -> Iterator[tuple[int, bool, list[PythonCell]]]:
    by_row: dict[int, dict[int, str]] = {}
    for (row, column), name in errors.items():
        by_row.setdefault(row, {})[column] = name
    for number, values in enumerate(rows, 1):
        cells = [_cell(value) for value in values]
        for column, name in by_row.pop(number, {}).items():
            cells.extend([(None, Kind.EMPTY)] * (column + 1 - len(cells)))
            cells[column] = (name, Kind.ERROR)
        yield number, False, cells
    # calamine leaves out rows at the end that have nothing but errors.
    for number, names in sorted(by_row.items()):
        cells = [(None, Kind.EMPTY)] * (max(names) + 1)
        for column, name in names.items():
            cells[column] = (name, Kind.ERROR)
        yield number, False, cells


def _cell(value: object) -> PythonCell:
    if isinstance(value, datetime):
        return value.isoformat(sep=" "), Kind.ISO
    if isinstance(value, date):
        return value.isoformat(), Kind.ISO
    return cell_of(value)
