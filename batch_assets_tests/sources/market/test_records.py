import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.sources.market.records import (
    MAX_LINES_IN_RECORD,
    fields_of,
    split_records,
    whole_records_end,
)


def texts(data: bytes) -> list[str]:
    records = split_records(data)
    return [records.text(index) for index in range(len(records))]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a,1\nb,2\n", ["a,1", "b,2"]),
        (b"a,1\nb,2", ["a,1", "b,2"]),
        (b"a,1\r\n\r\n\nb,2\r\n", ["a,1", "b,2"]),
        (b'"x\ny",1\nb,2\n', ['"x\ny",1', "b,2"]),
        (b'a,"5""",1\nb,2\n', ['a,"5""",1', "b,2"]),
    ],
)
def test_records_are_found(data: bytes, expected: list[str]) -> None:
    assert texts(data) == expected


def test_a_stray_quote_costs_its_own_line_alone() -> None:
    lines = [f"s{number},1" for number in range(100)]
    lines[3] = 's3,"1'

    assert texts("\n".join(lines).encode()) == lines


def test_two_stray_quotes_far_apart_join_nothing() -> None:
    lines = [f"s{number},1" for number in range(100)]
    lines[3], lines[3 + MAX_LINES_IN_RECORD] = 's3,"1', 's23,"1'

    assert texts("\n".join(lines).encode()) == lines


def test_lines_are_counted_through_blank_and_quoted_ones() -> None:
    assert split_records(b'a\n\n"b\nc"\nd\n').lines.tolist() == [0, 2, 4]


def test_a_block_is_cut_before_a_quoted_value_that_goes_on() -> None:
    assert whole_records_end(b'a,1\n"x\n') == len(b"a,1\n")
    assert whole_records_end(b"a,1\nb") == len(b"a,1\n")
    assert whole_records_end(b"a,1") == 0


CELLS = st.text(st.sampled_from('ab",\n 1'), max_size=4)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=3), max_size=8))
def test_what_csv_writes_is_split_and_read_back(rows: list[list[str]]) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)

    read = [fields_of(text, ",") for text in texts(written.getvalue().encode())]

    assert read == rows
