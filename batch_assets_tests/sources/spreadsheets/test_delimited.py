from collections.abc import Callable
from pathlib import Path

import pytest

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.delimited import detect_delimiter, detect_encoding
from batch_assets_tests.sources.spreadsheets.conftest import (
    read_cells,
    read_rows,
    rules_of,
    values_of,
)

Writer = Callable[..., Path]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_encoding_is_found_out(write_csv: Writer, encoding: str) -> None:
    path = write_csv("客户,金额", "北京贸易公司,12.50", "上海电子有限公司,3", encoding=encoding)

    judged = read_rows(
        path, {"customer": {"header": "客户"}, "amount": {"header": "金额", "type": "decimal(9,2)"}}
    )

    assert values_of(judged, "customer") == ["北京贸易公司", "上海电子有限公司"]


def test_western_text_is_not_taken_for_chinese() -> None:
    text = "Straße;Café;Ölförderung über München;Größe\n" * 5

    assert text.encode("cp1252").decode(detect_encoding(text.encode("cp1252"))) == text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found_out(delimiter: str) -> None:
    rows = (["id", "name, first", "amount"], ["1", "x", "1,5"], ["2", "y; z", "2,5"])
    text = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)

    assert detect_delimiter(text) == delimiter


def test_declared_encoding_and_delimiter_win(write_csv: Writer) -> None:
    path = write_csv("a|b,c", "é|1,2", encoding="cp1252")

    cells = read_cells(path, encoding="cp1252", delimiter="|")[""]

    assert cells[2, 1][0] == "é"
    assert cells[2, 2][0] == "1,2"


def test_wrong_declared_encoding_is_refused(write_csv: Writer) -> None:
    path = write_csv("a", "é" * 10, encoding="latin-1")

    with pytest.raises(UnreadableSource, match="is not utf-8"):
        read_cells(path, encoding="utf-8")


def test_row_is_named_by_its_first_line(write_csv: Writer) -> None:
    path = write_csv("id,note", '1,"two', 'lines"', "x,bad")

    judged = read_rows(path, {"id": "integer", "note": "text"})

    assert rules_of(judged) == {"A4": "unparsable_number"}
    assert values_of(judged, "note") == ["two\nlines"]


def test_leading_zeros_of_text_stay(write_csv: Writer) -> None:
    judged = read_rows(write_csv("zip", "00123"), {"zip": "text"})

    assert values_of(judged, "zip") == ["00123"]


def test_nul_character_costs_its_row_alone(write_csv: Writer) -> None:
    path = write_csv("id,note", *(f"{n},ok" for n in range(1, 200)), "200,a\x00b")

    judged = read_rows(path, {"id": "integer", "note": "text"})

    assert rules_of(judged) == {"B201": "nul_character"}
    assert len(values_of(judged, "id")) == 199
