import zipfile
from pathlib import Path

import pytest

from batch_assets.sources.spreadsheets.cells import Kind
from batch_assets.sources.spreadsheets.preflight import FileRefused, Refusal
from batch_assets_tests.sources.spreadsheets.conftest import read_cells

_HEAD = (
    '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0">'
    '<office:body><office:spreadsheet><table:table table:name="One">'
)
_TAIL = "</table:table></office:spreadsheet></office:body></office:document-content>"


def write_ods(path: Path, rows: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", f"{_HEAD}{rows}{_TAIL}")
    return path


def cell(attributes: str, text: str = "") -> str:
    return f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"


def row(*cells: str, attributes: str = "") -> str:
    return f"<table:table-row {attributes}>{''.join(cells)}</table:table-row>"


def test_every_kind_of_cell_keeps_what_the_file_says(tmp_path: Path) -> None:
    path = write_ods(
        tmp_path / "a.ods",
        row(
            cell('office:value-type="string"', "x"),
            cell('office:value-type="float" office:value="1.50"', "1,50"),
            cell('office:value-type="boolean" office:boolean-value="true"', "TRUE"),
            cell('office:value-type="date" office:date-value="2024-09-30"', "30.9."),
            cell('office:value-type="time" office:time-value="PT13H05M00S"', "13:05"),
            cell('office:value-type="string" calcext:value-type="error"', "#N/A"),
            cell('table:formula="of:=1/0" office:value-type="string"', "#DIV/0!"),
        ),
    )

    assert list(read_cells(path)["One"].values()) == [
        ("x", Kind.TEXT),
        ("1.50", Kind.NUMBER),
        ("1", Kind.BOOLEAN),
        ("2024-09-30", Kind.ISO),
        ("13:05:00", Kind.ISO),
        ("#N/A", Kind.ERROR),
        ("#DIV/0!", Kind.ERROR),
    ]


def test_repeated_rows_and_cells_are_counted(tmp_path: Path) -> None:
    one = cell('office:value-type="float" office:value="1" table:number-columns-repeated="2"')
    path = write_ods(
        tmp_path / "a.ods",
        row(
            cell('table:number-columns-repeated="16384"'),
            attributes='table:number-rows-repeated="5"',
        )
        + row(one, attributes='table:number-rows-repeated="2"')
        + row(cell(""), attributes='table:number-rows-repeated="1048569"'),
    )

    assert list(read_cells(path)["One"]) == [(6, 1), (7, 1), (6, 2), (7, 2)]


def test_cells_repeated_without_bound_are_refused(tmp_path: Path) -> None:
    one = cell('office:value-type="float" office:value="1" table:number-columns-repeated="16384"')
    path = write_ods(
        tmp_path / "a.ods", row(one, attributes='table:number-rows-repeated="1048576"')
    )

    with pytest.raises(FileRefused) as raised:
        read_cells(path)

    assert raised.value.refusal is Refusal.TOO_LARGE
