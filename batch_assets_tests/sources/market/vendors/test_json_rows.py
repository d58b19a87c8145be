import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_assets.errors import SourceUnavailable
from batch_assets.sources.market.vendors.json_rows import TextRows, take_rows
from batch_assets.sources.market.vendors.replies import (
    fetched_rows,
    read_json,
    read_json_rows,
    require_list,
    require_rows,
)
from batch_assets.sources.market.vendors.vendor import Fetched

COMPACT, SPACED = (",", ":"), (", ", ": ")
_PIECES = st.sampled_from(
    ["a", "10.8", " ", ",", ", ", "[", "]", "],[", "], [", "]]", '"', "\\", "\n", "{", "null", "é",
     "平安", "\x01rows", "\x00", "items"]
)  # fmt: skip
_TEXTS = st.lists(_PIECES, max_size=4).map("".join)
_NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=True, allow_infinity=True))
_CELLS = st.one_of(
    _TEXTS, _NUMBERS, st.none(), st.booleans(), st.lists(st.integers(), max_size=2),
    st.dictionaries(_TEXTS, st.integers(), max_size=1),
)  # fmt: skip
_PLAIN_CELLS = st.one_of(st.sampled_from(["000001.SZ", "", "null", "N/A"]), st.none())


@st.composite
def plain_documents(draw: st.DrawFn) -> tuple[list[list[Any]], tuple[str, str]]:
    kinds = draw(st.lists(st.sampled_from([_PLAIN_CELLS, st.integers()]), min_size=1, max_size=5))
    rows = draw(st.lists(st.tuples(*kinds).map(list), min_size=1, max_size=6))
    return rows, draw(st.sampled_from([COMPACT, SPACED]))


@st.composite
def any_documents(draw: st.DrawFn) -> tuple[list[list[Any]], tuple[str, str]]:
    width = draw(st.integers(1, 4))
    row = st.lists(_CELLS, min_size=width, max_size=width)
    rows = draw(st.lists(st.one_of(row, st.lists(_CELLS, max_size=5)), max_size=5))
    return rows, draw(st.sampled_from([COMPACT, SPACED]))


def body_of(rows: Any, separators: tuple[str, str] = COMPACT) -> bytes:
    document = {"code": 0, "data": {"fields": ["a"], "items": rows, "has_more": False}}
    return json.dumps(document, separators=separators, ensure_ascii=False).encode()


def by_columns(body: bytes, width: int) -> Fetched:
    answer = read_json_rows(body, "items", "daily")
    return fetched_rows("daily", header(width), require_rows(answer["data"]["items"], "daily"))


def by_lists(body: bytes, width: int) -> Fetched:
    answer = read_json(body, "daily")
    return fetched_rows("daily", header(width), require_list(answer["data"]["items"], "daily"))


def header(width: int) -> list[str]:
    return [f"column {number}" for number in range(width)]


def assert_same(body: bytes, width: int) -> None:
    ours, expected = by_columns(body, width), by_lists(body, width)
    assert ours.cells.to_pydict() == expected.cells.to_pydict()
    assert ours.places.tolist() == expected.places.tolist()
    assert ours.malformed == expected.malformed


@settings(deadline=None)
@given(plain_documents())
def test_plain_rows_are_what_a_json_parser_reads(
    document: tuple[list[list[Any]], tuple[str, str]],
) -> None:
    rows, separators = document

    assert_same(body_of(rows, separators), len(rows[0]))


@settings(deadline=None)
@given(any_documents())
def test_any_rows_are_what_a_json_parser_reads(
    document: tuple[list[list[Any]], tuple[str, str]],
) -> None:
    rows, separators = document

    for width in {len(row) for row in rows} or {1}:
        assert_same(body_of(rows, separators), width)


@pytest.mark.parametrize("separators", [COMPACT, SPACED])
def test_a_reply_of_bars_needs_no_json_parser_for_its_rows(separators: tuple[str, str]) -> None:
    rows = [["000001.SZ", "20240930", 10.8, None], ["000002.SZ", "20240930", -9.72e-3, 5]]

    taken = take_rows(body_of(rows, separators), "items")

    assert taken is not None
    assert taken[1].columns.to_pydict() == {
        "0": ["000001.SZ", "000002.SZ"],
        "1": ["20240930", "20240930"],
        "2": ["10.8", "-0.00972"],
        "3": [None, "5"],
    }


@pytest.mark.parametrize(
    "row",
    [
        ["a],[b", 1], ["a,b", 1], ["a, b", 1], ["a\\b", 1], ["a", True], ["a", [1]], ["a", {}],
        ["a", float("nan")], ["a"], ["a", 1, 2],
    ],
)  # fmt: skip
def test_a_row_of_another_form_is_left_to_the_json_parser(row: list[Any]) -> None:
    rows = [["000001.SZ", 10], row, ["000002.SZ", 11]]

    answer = read_json_rows(body_of(rows, SPACED), "items", "daily")

    assert not isinstance(answer["data"]["items"], TextRows)
    assert_same(body_of(rows, SPACED), 2)


def test_rows_of_another_width_than_the_header_are_malformed() -> None:
    fetched = by_columns(body_of([["a", 1.50], ["b", 2]]), 3)

    assert fetched.cells.num_rows == 0
    assert [record.text for record in fetched.malformed] == ['["a", "1.5"]', '["b", "2"]']


def test_a_reply_cut_anywhere_is_refused() -> None:
    whole = body_of([["000001.SZ", 10.8], ["000002.SZ", 9.7]])

    for length in range(len(whole)):
        with pytest.raises(SourceUnavailable, match="not complete JSON"):
            read_json_rows(whole[:length], "items", "daily")


@pytest.mark.parametrize("cell", [b"1 0", b"x", b"", b'"a"b', b"'1'"])
def test_a_cell_that_is_no_json_is_refused(cell: bytes) -> None:
    body = body_of([["000001.SZ", 10.8], ["000002.SZ", 9.7]]).replace(b"10.8", cell)

    with pytest.raises(SourceUnavailable, match="not complete JSON"):
        read_json_rows(body, "items", "daily")
