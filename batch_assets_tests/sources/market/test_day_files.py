"""One file a day: what is loaded, and what is rejected with which reason."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from batch_assets.errors import UnreadableSource
from batch_assets.sources.market import csv_blocks
from batch_assets.sources.market.source import DayState
from batch_assets_tests.sources.market.conftest import HEADER, SourceMaker, bar, text_of
from batch_assets_tests.sources.market.day_reads import (
    DAY,
    ISO,
    ROWS,
    closes,
    open_day,
    read_all,
    rules_by_row,
)


def test_a_day_gives_typed_rows_with_their_places(folder: Path, make_source: SourceMaker) -> None:
    (folder / f"{ISO}.csv").write_bytes(text_of(bar(ISO, "sh600000"), bar(ISO, "0.000001", "9.5")))

    opened = open_day(make_source())
    (batch,) = read_all(opened)

    assert (opened.state, opened.source_file) == (DayState.READY, f"{ISO}.csv")
    assert batch.rows.to_pylist()[0] == {
        "source": "small", "symbol": "600000.SH", "trade_date": DAY,
        "open": Decimal("10.000000"), "high": Decimal("11.000000"), "low": Decimal("9.000000"),
        "close": Decimal("10.000000"), "pre_close": None, "volume": Decimal("100.00000000"),
        "amount": Decimal("1000.0000"), "adjustment": "raw", "status": "traded",
    }  # fmt: skip
    assert batch.positions.to_pylist() == [
        {"file": f"{ISO}.csv", "row": 2}, {"file": f"{ISO}.csv", "row": 3},
    ]  # fmt: skip
    assert batch.originals([1])[0]["symbol"] == "0.000001"


def test_every_bad_cell_is_explained_and_the_rest_is_loaded(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / f"{ISO}.csv").write_bytes(
        text_of(
            bar(ISO, "600000.SH"),
            bar(ISO, "600001.SH", close="1O.0"),
            bar("30 Sept", "600002.SH"),
            bar("2024-09-27", "600003.SH"),
            bar(ISO, "bank"),
            bar(ISO, ""),
            bar("", "600006.SH"),
            bar(ISO, "600007.SH", close="nan", volume="inf"),
            f"{ISO},600008.SH,10",
            bar(ISO, "600009.SH") + ",extra",
            bar(ISO, "600010.SH"),
        )
    )

    (batch,) = batches = read_all(open_day(make_source()))

    assert list(closes(batches)) == ["600000.SH", "600010.SH"]
    assert batch.read_rows == 11
    assert rules_by_row(batches) == {
        3: [("unparsable_number", "close")],
        4: [("unparsable_date", "trade_date")],
        5: [("wrong_date", "trade_date")],
        6: [("unparsable_symbol", "symbol")],
        7: [("missing_value", "symbol")],
        8: [("missing_value", "trade_date")],
        9: [("unparsable_number", "close"), ("unparsable_number", "volume")],
        10: [("wrong_field_count", "")],
        11: [("wrong_field_count", "")],
    }
    assert batch.positions["row"].to_pylist() == [2, 12]


def test_a_rejected_row_says_what_was_seen_expected_and_to_do(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / f"{ISO}.csv").write_bytes(text_of(bar(ISO, "600001.SH", close="1O.0")))

    ((rejected,),) = [batch.rejected for batch in open_day(make_source()).read()]

    (violation,) = rejected.violations
    assert violation.observed == "1O.0"
    assert violation.expected == "a finite number that fits decimal128(20, 6)"
    assert "correct the cell" in violation.hint
    assert rejected.original["close"] == "1O.0"
    assert (rejected.file, rejected.window_value) == (f"{ISO}.csv", DAY)


def test_missing_close_and_volume_stay_null_for_the_rules(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / f"{ISO}.csv").write_bytes(text_of(bar(ISO, "600000.SH", close="--", volume="None")))

    (batch,) = read_all(open_day(make_source()))

    assert (batch.rows["close"][0].as_py(), batch.rows["volume"][0].as_py()) == (None, None)


def test_suspended_rows_lose_their_zero_prices(folder: Path, make_source: SourceMaker) -> None:
    rows = [f"{ISO},600000.SH,0,0,0,0,0,0", f"{ISO},600001.SH,9,9,9,9,0,0"]
    (folder / f"{ISO}.csv").write_bytes(text_of(*rows))

    (batch,) = read_all(open_day(make_source()))

    assert batch.rows["status"].to_pylist() == ["suspended", "no_trade"]
    assert batch.rows["close"].to_pylist() == [None, Decimal("9.000000")]
    assert batch.rows["volume"].to_pylist() == [Decimal("0E-8")] * 2


def test_a_status_column_says_who_is_suspended(folder: Path, make_source: SourceMaker) -> None:
    header = HEADER + ",state"
    (folder / f"{ISO}.csv").write_bytes(
        text_of(f"{ISO},600000.SH,9,9,9,9,,,停牌", f"{ISO},600001.SH,9,9,9,9,5,,", header=header)
    )
    source = make_source(columns={"status": "state"}, suspended_values=["停牌"])

    (batch,) = read_all(open_day(source))

    assert batch.rows["status"].to_pylist() == ["suspended", "traded"]
    assert batch.rows["volume"].to_pylist() == [Decimal("0E-8"), Decimal(5)]


CHINESE = (
    "日期,股票代码,开盘价,最高价,最低价,收盘价,成交量,成交额,名称\n"
    "2024-09-30,600000.SH,1,2,1,2,5,8,浦发\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
def test_chinese_headers_are_known_in_every_encoding(
    folder: Path, make_source: SourceMaker, encoding: str
) -> None:
    (folder / f"{ISO}.csv").write_bytes(CHINESE.encode(encoding))

    batches = read_all(open_day(make_source(encoding=encoding)))

    assert closes(batches) == {"600000.SH": Decimal(2)}
    assert batches[0].originals([0])[0]["名称"] == "浦发"


def test_a_file_in_another_encoding_is_refused_with_advice(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / f"{ISO}.csv").write_bytes(CHINESE.encode("gbk"))

    with pytest.raises(UnreadableSource, match=r"first line is not utf-8.*set `encoding`.*gb18030"):
        open_day(make_source())


def test_bytes_that_cannot_be_decoded_are_placed(folder: Path, make_source: SourceMaker) -> None:
    (folder / f"{ISO}.csv").write_bytes(CHINESE.encode("gbk") + b"\xff\xff\n")

    with pytest.raises(
        UnreadableSource, match=r"2024-09-30.csv: bytes near offset \d+ are not gbk"
    ):
        open_day(make_source(encoding="gbk"))


def test_a_missing_column_is_named_with_what_the_file_has(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / f"{ISO}.csv").write_bytes(b"error\nno permission for this day\n")

    with pytest.raises(UnreadableSource, match=r"columns not found: symbol: .*The file has: error"):
        open_day(make_source())


def test_a_column_the_feed_names_is_needed(folder: Path, make_source: SourceMaker) -> None:
    (folder / f"{ISO}.csv").write_bytes(text_of(bar(ISO, "600000.SH")))

    with pytest.raises(UnreadableSource, match="columns not found: pre_close: PREV or Previous"):
        open_day(make_source(columns={"pre_close": ["PREV", "Previous"]}))


def test_columns_by_position_skipped_lines_and_a_delimiter(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / f"{ISO}.csv").write_bytes(b"an advert\n\n600000.SH;1;2;1;2;5\n")
    columns = {"symbol": 1, "open": 2, "high": 3, "low": 4, "close": 5, "volume": 6}

    source = make_source(skip_lines=1, header=False, delimiter=";", columns=columns)
    (batch,) = read_all(open_day(source))

    assert closes([batch]) == {"600000.SH": Decimal(2)}
    assert batch.positions["row"].to_pylist() == [3]
    assert batch.originals([0])[0]["column 6"] == "5"


def test_quotes_thousands_blank_lines_and_windows_line_ends(
    folder: Path, make_source: SourceMaker
) -> None:
    lines = [
        f'"{ISO}","600000.SH","1,010.5","1,011","1,009","1,010","1,863,000","5"', "",
        bar(ISO, "600001.SH"),
    ]  # fmt: skip
    (folder / f"{ISO}.csv").write_bytes("\r\n".join([HEADER, *lines, ""]).encode())

    (batch,) = read_all(open_day(make_source()))

    assert batch.rows["open"][0].as_py() == Decimal("1010.5")
    assert batch.rows["volume"][0].as_py() == Decimal(1863000)
    assert batch.positions["row"].to_pylist() == [2, 4]


def test_an_unclosed_quote_costs_one_row(folder: Path, make_source: SourceMaker) -> None:
    lines = [bar(ISO, f"{600000 + number}.SH") for number in range(60)]
    lines[4] = f'{ISO},"600004.SH,10,11,9,10,100,1000'
    (folder / f"{ISO}.csv").write_bytes(text_of(*lines))

    (batch,) = read_all(open_day(make_source()))

    assert (batch.read_rows, batch.rows.num_rows) == (60, 59)
    assert rules_by_row([batch]) == {6: [("wrong_field_count", "")]}


def test_a_file_larger_than_a_block_is_read_in_pieces_with_true_line_numbers(
    folder: Path, make_source: SourceMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [bar(ISO, f"{600000 + number}.SH") for number in range(2_000)]
    lines[1_500] = lines[1_500].replace("10.0", "x", 1)
    (folder / f"{ISO}.csv").write_bytes(text_of(*lines))
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr("batch_assets.sources.market.containers.READ_BYTES", 4_000)

    batches = read_all(open_day(make_source()))

    assert len(batches) > 5
    assert sum(batch.read_rows for batch in batches) == 2_000
    rows = [row for batch in batches for row in batch.positions["row"].to_pylist()]
    assert rows == [row for row in range(2, 2_002) if row != 1_502]
    assert rules_by_row(batches) == {1_502: [("unparsable_number", "open")]}


def test_more_decimals_than_the_column_are_noted(folder: Path, make_source: SourceMaker) -> None:
    (folder / f"{ISO}.csv").write_bytes(text_of(bar(ISO, "600000.SH", close="10.12345678")))

    opened = open_day(make_source())
    read_all(opened)
    read_all(opened)

    assert dict(opened.notes) == {"rounded_half_even:close": 1}


def test_reading_twice_gives_the_same_rows(folder: Path, make_source: SourceMaker) -> None:
    (folder / f"{ISO}.csv").write_bytes(ROWS)
    opened = open_day(make_source())

    def rows() -> Iterator[pa.RecordBatch]:
        return (batch.rows for batch in opened.read())

    assert list(rows()) == list(rows())
