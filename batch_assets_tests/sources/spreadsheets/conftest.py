"""Small workbooks and what is read from them."""

import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from batch_assets.sources.spreadsheets.cells import Kind
from batch_assets.sources.spreadsheets.formats import ReadOptions, open_sheets
from batch_assets.sources.spreadsheets.judge import Arrival, JudgedRows
from batch_assets.sources.spreadsheets.reading import Reading
from batch_assets.sources.spreadsheets.template import build_template

DAY = date(2024, 9, 30)
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"

Cells = dict[tuple[int, int], tuple[str, Kind]]


def write_xlsx(
    path: Path,
    sheet_data: str,
    *,
    head: str = f'<worksheet xmlns="{MAIN}">',
    tail: str = "</worksheet>",
    strings: str = "",
    styles: str = "",
    date1904: bool = False,
) -> Path:
    """An xlsx file with the given XML inside."""
    relations = f'<Relationship Id="r1" Type="{_OFFICE}/worksheet" Target="worksheets/s.xml"/>'
    parts = {
        "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="r0" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{_OFFICE}">'
        f'<workbookPr date1904="{int(date1904)}"/><sheets>'
        '<sheet name="One" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/worksheets/s.xml": f"{head}{sheet_data}{tail}",
    }
    if strings:
        relations += f'<Relationship Id="r2" Type="{_OFFICE}/sharedStrings" Target="ss.xml"/>'
        parts["xl/ss.xml"] = f'<sst xmlns="{MAIN}">{strings}</sst>'
    if styles:
        relations += f'<Relationship Id="r3" Type="{_OFFICE}/styles" Target="st.xml"/>'
        parts["xl/st.xml"] = f'<styleSheet xmlns="{MAIN}">{styles}</styleSheet>'
    parts["xl/_rels/workbook.xml.rels"] = (
        f'<Relationships xmlns="{_RELATIONS}">{relations}</Relationships>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return path


def read_cells(path: Path, **options: Any) -> dict[str, Cells]:
    """Cells that are not empty, by sheet and by 1-based row and column."""
    found: dict[str, Cells] = {}
    for sheet in open_sheets(path, path.name, ReadOptions(**options)):
        cells = found[sheet.name] = {}
        for block in sheet.blocks:
            for place, column in block.columns.items():
                texts = column.texts.to_pylist()
                for index, kind in enumerate(column.kinds.tolist()):
                    if kind:
                        cells[int(block.rows[index]), place + 1] = (texts[index], Kind(kind))
    return found


def read_rows(path: Path, columns: dict[str, Any], **settings: Any) -> list[JudgedRows]:
    """What becomes of a file's rows under a template."""
    body = {"table": "a.b", "disposition": "append", "columns": columns, **settings}
    template = build_template("small", body)
    return list(Reading(path, template, Arrival(path.name, DAY, {})).rows())


def values_of(judged: list[JudgedRows], name: str) -> list[Any]:
    """Values of one column of the good rows."""
    return [value for part in judged for value in part.rows.column(name).to_pylist()]


def rules_of(judged: list[JudgedRows]) -> dict[str, str]:
    """Rule of each refused cell, by its place."""
    return {
        violation.cell or f"row {row.row}": violation.rule
        for part in judged
        for row in part.rejected
        for violation in row.violations
    }


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str, name: str = "small.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes("\n".join(lines).encode(encoding))
        return path

    return write


@pytest.fixture(scope="session")
def shared_documents() -> Path:
    """Real files beside the project; the test is skipped where they are missing."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "documents" / "files"
    if not folder.is_dir():
        pytest.skip(f"the real documents are not at {folder}")
    return folder
