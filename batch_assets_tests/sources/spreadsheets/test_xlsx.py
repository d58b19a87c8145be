import html
import zipfile
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.cells import Kind, SheetBlock, column_letters
from batch_assets.sources.spreadsheets.xlsx_events import read_sheet_events
from batch_assets.sources.spreadsheets.xlsx_package import is_date_code
from batch_assets.sources.spreadsheets.xlsx_scan import Workbook, scan_rows
from batch_assets.sources.spreadsheets.xlsx_strings import (
    read_shared_strings,
    read_strings,
    scan_strings,
)
from batch_assets_tests.sources.spreadsheets.conftest import (
    MAIN,
    read_cells,
    read_rows,
    values_of,
    write_xlsx,
)

_DATES = (
    '<numFmts><numFmt numFmtId="170" formatCode="yyyy-mm-dd"/>'
    '<numFmt numFmtId="171" formatCode="00000"/></numFmts>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="170"/><xf numFmtId="171"/></cellXfs>'
)
ONE = (
    '<row r="1"><c r="A1" t="inlineStr"><is><t>name</t></is></c>'
    '<c r="B1" t="inlineStr"><is><t>value</t></is></c></row>'
)


def sheet(*rows: str) -> str:
    return f"<sheetData>{''.join(rows)}</sheetData>"


def test_every_kind_of_cell_keeps_what_the_file_says(tmp_path: Path) -> None:
    path = write_xlsx(
        tmp_path / "a.xlsx",
        sheet(
            '<row r="2"><c r="A2" t="s"><v>0</v></c><c r="B2"><v>1.50</v></c>'
            '<c r="C2" t="b"><v>1</v></c><c r="D2" t="e"><v>#N/A</v></c>'
            '<c r="E2" s="1"><v>45565</v></c><c r="F2"><f>1+1</f></c>'
            '<c r="G2" t="str"><f>"a"&amp;"b"</f><v>a&lt;b</v></c><c r="H2" s="1"/>'
            '<c r="I2" t="d"><v>2024-09-30</v></c></row>'
        ),
        strings="<si><t>caf&#233; &amp; co_x000D_</t></si>",
        styles=_DATES,
    )

    cells = read_cells(path)["One"]

    assert cells == {
        (2, 1): ("café & co\r", Kind.TEXT),
        (2, 2): ("1.50", Kind.NUMBER),
        (2, 3): ("1", Kind.BOOLEAN),
        (2, 4): ("#N/A", Kind.ERROR),
        (2, 5): ("45565", Kind.SERIAL),
        (2, 6): (None, Kind.UNCALCULATED),
        (2, 7): ("a<b", Kind.TEXT),
        (2, 9): ("2024-09-30", Kind.ISO),
    }


@pytest.mark.parametrize(
    "data",
    [
        '<row><c t="n"><v>7</v></c><c><v>8</v></c></row>',
        '<row r="1"><!-- seven --><c r="A1"><v>7</v></c><c r="B1"><v>8</v></c></row>',
        "<row r='1'><c r='A1'><v>7</v></c><c r='B1'><v>8</v></c></row>",
        '<row r="1"><c r="A1"><v>7</v></c></row><row r="1"><c r="B1"><v>8</v></c></row>',
    ],
    ids=["no references", "a comment", "single quotes", "a row in two parts"],
)
def test_unusual_xml_gives_the_same_cells(tmp_path: Path, data: str) -> None:
    cells = read_cells(write_xlsx(tmp_path / "a.xlsx", sheet(data)))["One"]

    assert cells == {(1, 1): ("7", Kind.NUMBER), (1, 2): ("8", Kind.NUMBER)}


def test_prefixed_names_are_read(tmp_path: Path) -> None:
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    path = write_xlsx(
        tmp_path / "a.xlsx",
        '<x:sheetData><x:row r="3"><x:c r="B3" t="inlineStr"><x:is><x:r><x:t>a</x:t></x:r>'
        "<x:r><x:t>b</x:t></x:r><x:rPh><x:t>no</x:t></x:rPh></x:is></x:c></x:row></x:sheetData>",
        head=f'<x:worksheet xmlns:x="{main}">',
        tail="</x:worksheet>",
    )

    assert read_cells(path)["One"] == {(3, 2): ("ab", Kind.TEXT)}


def test_irregular_rows_after_regular_ones_are_read_once(tmp_path: Path) -> None:
    regular = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(1, 60_000))
    path = write_xlsx(
        tmp_path / "a.xlsx",
        sheet(regular, '<row r="60000"><c t="inlineStr"><is><r><t>rich</t></r></is></c></row>'),
    )

    cells = read_cells(path)["One"]

    assert len(cells) == 60_000
    assert cells[59_999, 1] == ("59999", Kind.NUMBER)
    assert cells[60_000, 1] == ("rich", Kind.TEXT)


def test_two_cells_far_apart_cost_two_cells(tmp_path: Path) -> None:
    path = write_xlsx(
        tmp_path / "a.xlsx",
        sheet(
            '<row r="1"><c r="A1"><v>1</v></c></row>',
            '<row r="1048576"><c r="XFD1048576"><v>2</v></c></row>',
        ),
        head='<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        '<dimension ref="A1:XFD1048576"/>',
    )

    assert read_cells(path)["One"] == {
        (1, 1): ("1", Kind.NUMBER),
        (1_048_576, 16_384): ("2", Kind.NUMBER),
    }


def test_sheet_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "a.xlsx", f"<sheetData>{ONE}<row r='2'><c r='A2'>", tail="")

    with pytest.raises(UnreadableSource, match="cut off or damaged"):
        read_cells(path)


def test_damaged_member_is_refused(tmp_path: Path) -> None:
    rows = (f'<row r="{n}"><c r="A{n}"><v>{n * 7919}</v></c></row>' for n in range(1, 20_000))
    path = write_xlsx(tmp_path / "a.xlsx", sheet(*rows))
    data = bytearray(path.read_bytes())
    place = data.index(b"xl/worksheets/s.xml") + 20_000
    data[place : place + 64] = bytes(64)
    path.write_bytes(data)

    with pytest.raises(UnreadableSource, match="damaged"):
        read_cells(path)


def test_days_count_from_1900_or_1904_as_the_book_says(tmp_path: Path) -> None:
    rows = (ONE, '<row r="2"><c r="B2" s="1"><v>1</v></c></row>')
    for year, is_1904 in ((date(1900, 1, 1), False), (date(1904, 1, 2), True)):
        path = write_xlsx(tmp_path / "a.xlsx", sheet(*rows), styles=_DATES, date1904=is_1904)

        judged = read_rows(path, {"value": "date"}, contract="discard")

        assert values_of(judged, "value") == [year]


def test_hidden_rows_are_kept_or_skipped_as_declared(tmp_path: Path) -> None:
    path = write_xlsx(
        tmp_path / "a.xlsx",
        sheet(
            ONE,
            '<row r="2"><c r="B2"><v>1</v></c></row>',
            '<row r="3" hidden="1"><c r="B3"><v>2</v></c></row>',
        ),
    )

    kept = read_rows(path, {"value": "integer"}, contract="discard")
    skipped = read_rows(path, {"value": "integer"}, contract="discard", hidden_rows="skip")

    assert values_of(kept, "value") == [1, 2]
    assert values_of(skipped, "value") == [1]
    assert (skipped[0].read_rows, skipped[0].skipped_rows) == (2, 1)


def test_zeros_that_the_format_shows_are_part_of_text(tmp_path: Path) -> None:
    path = write_xlsx(
        tmp_path / "a.xlsx",
        sheet(ONE, '<row r="2"><c r="B2" s="2"><v>42</v></c></row>'),
        styles=_DATES,
    )

    text = read_rows(path, {"value": "text"}, contract="discard")
    number = read_rows(path, {"value": "integer"}, contract="discard")

    assert values_of(text, "value") == ["00042"]
    assert values_of(number, "value") == [42]


def test_merged_cells_are_repeated_where_declared(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["region", "city"], ["north", "A"], [None, "B"], ["south", "C"]):
        book.active.append(row)
    book.active.merge_cells("A2:A3")
    path = tmp_path / "a.xlsx"
    book.save(path)
    columns = {"region": "text", "city": "text"}

    assert values_of(read_rows(path, columns), "region") == ["north", None, "south"]
    filled = read_rows(path, columns, fill_merged=True)
    assert values_of(filled, "region") == ["north", "north", "south"]


@pytest.mark.parametrize(
    ("code", "is_date"),
    [
        ("yyyy-mm-dd", True),
        ('yyyy"年"m"月"', True),
        ("[h]:mm", True),
        ("[$-409]d-mmm;@", True),
        ("上午/下午h", True),
        ("General", False),
        ('0.00" days"', False),
        ("[Red]0.00", False),
        ("#,##0\\ \\d", False),
        ("0%", False),
    ],
)
def test_formats_that_show_dates_are_known(code: str, is_date: bool) -> None:
    assert is_date_code(code) is is_date


_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8
)
_CELL = st.one_of(
    st.none(),
    st.integers(-(10**9), 10**9).map(lambda n: f"<c{{r}}><v>{n}</v></c>"),
    st.floats(allow_nan=False, allow_infinity=False).map(
        lambda x: f'<c{{r}} s="1"><v>{x!r}</v></c>'
    ),
    st.booleans().map(lambda x: f'<c{{r}} t="b"><v>{int(x)}</v></c>'),
    st.sampled_from(["#N/A", "#REF!"]).map(lambda x: f'<c{{r}} t="e"><v>{x}</v></c>'),
    st.integers(0, 2).map(lambda n: f'<c{{r}} t="s"><v>{n}</v></c>'),
    st.just("<c{r}><f>A1</f></c>"),
    st.just('<c{r} s="1"/>'),
    _TEXT.map(
        lambda t: (
            '<c{r} t="inlineStr"><is><t xml:space="preserve">'
            + html.escape(t).replace("{", "&#123;").replace("}", "&#125;")
            + "</t></is></c>"
        )
    ),
)


def flatten(blocks: list[SheetBlock]) -> dict[tuple[int, int], Any]:
    found = {}
    for block in blocks:
        for place, column in block.columns.items():
            for index, kind in enumerate(column.kinds.tolist()):
                if kind:
                    found[int(block.rows[index]), place] = (column.texts[index].as_py(), kind)
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(_CELL, max_size=6), min_size=1, max_size=6))
def test_fast_and_slow_reader_agree(rows: list[list[str | None]]) -> None:
    import numpy as np

    workbook = Workbook(
        pa.array(["a", "", "c & d"]), np.array([False, True]), np.zeros(2, np.uint8)
    )
    data = "".join(
        f'<row r="{number}" spans="1:9">'
        + "".join(
            cell.replace("{r}", f' r="{column_letters(place)}{number}"')
            for place, cell in enumerate(cells)
            if cell is not None
        )
        + "</row>"
        for number, cells in enumerate(rows, 5)
    )

    fast = scan_rows(data.encode(), "One", workbook)
    slow = list(read_sheet_events(BytesIO(f"<s>{data}</s>".encode()), "One", workbook, "a.xlsx"))

    assert fast is not None
    assert flatten([fast]) == flatten(slow)


def test_values_written_by_openpyxl_come_back(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["t", "n", "d", "ts", "b", "p"])
    moment = datetime(2024, 2, 29, 23, 59, 58)  # noqa: DTZ001 - a workbook knows no zones
    book.active.append(["x", 0.1, date(2024, 2, 29), moment, True, 0.125])
    book.active["F2"].number_format = "0.0%"
    path = tmp_path / "a.xlsx"
    book.save(path)
    columns = {
        "t": "text",
        "n": "decimal(10,3)",
        "d": "date",
        "ts": "timestamp",
        "b": "boolean",
        "p": "percent",
    }

    [judged] = read_rows(path, columns)

    [row] = judged.rows.to_pylist()
    assert [str(row[name]) for name in columns] == [
        "x",
        "0.100",
        "2024-02-29",
        "2024-02-29 23:59:58",
        "True",
        "0.125000",
    ]


def test_zip_file_without_a_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")

    with pytest.raises(UnreadableSource, match="without a workbook inside"):
        read_cells(path)


@pytest.mark.parametrize(
    "items",
    [
        "<si><t>plain</t></si><si><t xml:space='preserve'> b </t></si><si><t/></si>",
        "<si><t>a &amp; b &lt;c&gt; &quot;d&quot; &amp;lt; 公司</t></si>",
        "<si><t>plain</t></si><si><r><t>ri</t></r><r><t>ch</t></r></si><si><t>last</t></si>",
        "<si><t>base</t><rPh sb='0' eb='1'><t>kana</t></rPh></si>",
        "<si><t>a&#10;b &#x80; caf&#233;</t></si>",
        "<si><t>a\r\nb</t></si><!-- note --><si><t><![CDATA[<x>]]></t></si>",
        "\n <si>\n <t>spread out</t>\n </si>\n",
        "<si/><si><t>after nothing</t></si>",
    ],
)
def test_shared_strings_are_those_that_an_xml_parser_reads(items: str) -> None:
    part = f'<?xml version="1.0" encoding="UTF-8"?><sst xmlns="{MAIN}">{items}</sst>'
    held = BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("ss.xml", part)
    expected = list(read_strings(BytesIO(part.encode())))

    with zipfile.ZipFile(held) as archive:
        found = read_shared_strings(archive, "ss.xml").to_pylist()

    assert found == expected
    assert found


def test_regular_shared_strings_are_cut_out_and_others_are_left_to_the_parser() -> None:
    regular = b"<si><t>a &amp; b</t></si>\n<si><t xml:space='preserve'> c </t></si><si><t/></si>"

    assert scan_strings(regular).to_pylist() == ["a & b", " c ", ""]
    assert scan_strings(regular + b"<si><r><t>rich</t></r></si>") is None
    assert scan_strings(b"<si><t>\xff</t></si>") is None
    assert scan_strings(b"<si><tx>a</tx></si>") is None
    assert scan_strings(b"<si><t>a</t><t>b</t></si>") is None
