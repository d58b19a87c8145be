"""One file a day: what is loaded, what is rejected with which reason, what fails the day."""

import gzip
import io
import os
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch_assets.contracts.batch import SourceBatch
from batch_assets.errors import SourceChanged, SourceUnavailable, UnreadableSource
from batch_assets.sources.market import csv_blocks
from batch_assets.sources.market.source import DayInput, DayState
from batch_assets_tests.sources.market.conftest import HEADER, NOW, SourceMaker, bar, text_of

DAY = date(2024, 9, 30)
ISO = DAY.isoformat()


def open_day(source: Any, day: date = DAY, now: datetime = NOW) -> DayInput:
    opened: DayInput = source.open_day(day, now=now)
    return opened


def read_all(opened: DayInput) -> list[SourceBatch]:
    batches = list(opened.read())
    for batch in batches:
        assert batch.read_rows == batch.rows.num_rows + len(batch.rejected)
        assert batch.positions.num_rows == batch.rows.num_rows
    return batches


def closes(batches: list[SourceBatch]) -> dict[str, Decimal | None]:
    return {row["symbol"]: row["close"] for batch in batches for row in batch.rows.to_pylist()}


def rules_by_row(batches: list[SourceBatch]) -> dict[int, list[tuple[str, str]]]:
    return {
        row.row: [(violation.rule, violation.column) for violation in row.violations]
        for batch in batches
        for row in batch.rejected
    }


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
    (folder / f"{ISO}.csv").write_bytes(b"<html>\n<body>Please log in</body>\n")

    with pytest.raises(
        UnreadableSource, match=r"columns not found: symbol: .*The file has: <html>"
    ):
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


def write_gzip(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data))


def write_zip(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bars.csv", data)


ROWS = text_of(*(bar(ISO, f"{600000 + number}.SH") for number in range(300)))


@pytest.mark.parametrize(("ending", "write"), [("csv.gz", write_gzip), ("zip", write_zip)])
def test_packed_files_are_read_and_half_files_refused(
    folder: Path, make_source: SourceMaker, ending: str, write: Any
) -> None:
    path = folder / f"{ISO}.{ending}"
    write(path, ROWS)
    source = make_source(files="{date}." + ending)

    assert sum(batch.rows.num_rows for batch in read_all(open_day(source))) == 300

    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableSource, match=r"fetch (it|the file) again"):
        read_all(open_day(source))


def test_a_member_of_a_zip_is_chosen_and_named(folder: Path, make_source: SourceMaker) -> None:
    with zipfile.ZipFile(folder / f"{ISO}.zip", "w") as archive:
        archive.writestr("readme.md", "not data")
        archive.writestr("bars.csv", ROWS)

    (batch,) = read_all(open_day(make_source(files="{date}.zip", zip_member="*.csv")))
    assert batch.positions["file"][0].as_py() == f"{ISO}.zip/bars.csv"

    with pytest.raises(UnreadableSource, match=r"no member matches '\*.txt'"):
        open_day(make_source(files="{date}.zip", zip_member="*.txt"))


def test_a_packed_bomb_is_stopped(folder: Path, make_source: SourceMaker) -> None:
    write_gzip(folder / f"{ISO}.csv.gz", ROWS)
    source = make_source(files="{date}.csv.gz", max_expanded_bytes=4096)

    with pytest.raises(UnreadableSource, match=r"unpack to more than \d+.*max_expanded_bytes"):
        read_all(open_day(source))


def test_a_small_file_that_unpacks_a_thousand_times_is_stopped(
    folder: Path, make_source: SourceMaker
) -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as stream:
        stream.write(ROWS)
        for _ in range(80):
            stream.write(b"\n" * 1024 * 1024)
    (folder / f"{ISO}.csv.gz").write_bytes(packed.getvalue())

    with pytest.raises(UnreadableSource, match="200 times the size"):
        read_all(open_day(make_source(files="{date}.csv.gz")))


def test_a_workbook_keeps_codes_dates_and_numbers(folder: Path, make_source: SourceMaker) -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    for row in (
        HEADER.split(","),
        [datetime(2024, 9, 30), 1, 10.1, 11, 9, 10.25, 1e6, "1,000"],  # noqa: DTZ001
        [None] * 8,
        [20240930, "600000.SH", 10.1, 11, 9, "bad", 5, None],
    ):
        sheet.append(row)
    workbook.save(folder / f"{ISO}.xlsx")
    source = make_source(files="{date}.xlsx", symbol={"style": "cn", "bare": "stock"})

    (batch,) = read_all(open_day(source))

    assert closes([batch]) == {"000001.SZ": Decimal("10.25")}
    assert batch.rows["amount"][0].as_py() == Decimal(1000)
    assert rules_by_row([batch]) == {4: [("unparsable_number", "close")]}
    assert batch.rejected[0].original["date"] == "20240930"


def test_a_missing_sheet_is_named(folder: Path, make_source: SourceMaker) -> None:
    openpyxl.Workbook().save(folder / f"{ISO}.xlsx")

    with pytest.raises(UnreadableSource, match="has sheets Sheet, expected 'Bars'"):
        open_day(make_source(files="{date}.xlsx", sheet="Bars"))


def test_a_workbook_cut_in_half_is_refused(folder: Path, make_source: SourceMaker) -> None:
    path = folder / f"{ISO}.xlsx"
    openpyxl.Workbook().save(path)
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(UnreadableSource, match="not a readable workbook"):
        open_day(make_source(files="{date}.xlsx"))


def test_parquet_is_read_exactly_and_not_a_number_is_rejected(
    folder: Path, make_source: SourceMaker
) -> None:
    table = pa.table(
        {
            "date": pa.array([DAY, DAY], pa.date32()),
            "symbol": pa.array(["600000.SH", "600001.SH"]).dictionary_encode(),
            "open": [10.1, 1.0], "high": [11.0, 2.0], "low": [9.0, 1.0],
            "close": [0.1 + 0.2, float("nan")],
            "volume": pa.array([5, 6], pa.int64()),
            "amount": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
        }
    )  # fmt: skip
    pq.write_table(table, folder / f"{ISO}.parquet")

    opened = open_day(make_source(files="{date}.parquet"))
    (batch,) = read_all(opened)

    assert closes([batch]) == {"600000.SH": Decimal("0.300000")}
    assert opened.notes == {"rounded_half_even:close": 1}
    assert rules_by_row([batch]) == {2: [("unparsable_number", "close")]}
    assert batch.rejected[0].original["volume"] == "6"


def test_a_parquet_file_cut_in_half_is_refused(folder: Path, make_source: SourceMaker) -> None:
    (folder / f"{ISO}.parquet").write_bytes(b"PAR1 and no more")

    with pytest.raises(UnreadableSource, match="not a complete Parquet file"):
        open_day(make_source(files="{date}.parquet"))


@pytest.mark.parametrize("content", [b"", b"\n\n", HEADER.encode() + b"\n"])
def test_a_file_without_rows_is_no_success(
    folder: Path, make_source: SourceMaker, content: bytes
) -> None:
    (folder / f"{ISO}.csv").write_bytes(content)

    opened = open_day(make_source())

    assert (opened.state, opened.reason) == (DayState.UNCONFIRMED_EMPTY, "no_rows")
    assert not list(opened.read())


def test_days_without_a_file_are_told_apart(make_source: SourceMaker) -> None:
    source = make_source(first_day="2024-09-02")
    before_close = datetime(2024, 9, 30, 6, 59, tzinfo=UTC)
    before_ready = datetime(2024, 9, 30, 7, 59, tzinfo=UTC)

    seen = [
        open_day(source, date(2024, 10, 1)), open_day(source, date(2024, 8, 30)),
        open_day(source, now=before_close), open_day(source, now=before_ready), open_day(source),
        open_day(source, date(2099, 1, 5), datetime(2099, 1, 6, tzinfo=UTC)),
    ]  # fmt: skip

    assert [(day.state.value, day.reason) for day in seen] == [
        ("skipped", "not_a_session"), ("skipped", "before_first_day"),
        ("not_ready", "before_close"), ("not_ready", "before_ready_time"),
        ("failed", "missing_file"), ("unconfirmed_empty", "calendar_does_not_cover_the_date"),
    ]  # fmt: skip
    assert "put the file there and run the partition again" in seen[4].message


def test_rows_on_a_closed_day_are_loaded_with_a_warning(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / "2024-10-01.csv").write_bytes(text_of(bar("2024-10-01", "600000.SH")))

    opened = open_day(make_source(), date(2024, 10, 1))

    assert (opened.state, opened.is_warning) == (DayState.READY, True)
    assert "calendar_file" in opened.message
    assert sum(batch.rows.num_rows for batch in read_all(opened)) == 1


def test_a_missing_folder_is_not_a_folder_without_files(
    folder: Path, make_source: SourceMaker
) -> None:
    folder.rmdir()

    with pytest.raises(SourceUnavailable, match="is not there"):
        open_day(make_source())


def test_several_files_make_one_day(folder: Path, make_source: SourceMaker) -> None:
    for exchange, code in (("sh", "600000.SH"), ("sz", "000001.SZ")):
        (folder / f"{exchange}_20240930.csv").write_bytes(text_of(bar(ISO, code)))

    opened = open_day(make_source(files="*_{date:%Y%m%d}.csv"))

    assert opened.source_file == "sh_20240930.csv, sz_20240930.csv"
    assert set(closes(read_all(opened))) == {"600000.SH", "000001.SZ"}


@pytest.mark.parametrize(
    ("files", "name"),
    [("{date:%Y}/{date:%m%d}.csv", "2024/0930.csv"), ("MI_{date:roc}.csv", "MI_1130930.csv")],
)
def test_the_date_is_found_in_many_kinds_of_names(
    folder: Path, make_source: SourceMaker, files: str, name: str
) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(text_of(bar(ISO, "600000.SH")))

    assert open_day(make_source(files=files)).source_file == name


def test_the_hash_follows_bytes_and_meaning_and_nothing_else(
    folder: Path, make_source: SourceMaker
) -> None:
    path = folder / f"{ISO}.csv"
    path.write_bytes(text_of(bar(ISO, "600000.SH")))
    first = open_day(make_source()).source_hash

    os.utime(path, ns=(1, 1))
    assert open_day(make_source(schedule="0 1 * * *")).source_hash == first
    assert open_day(make_source(volume_unit="lot")).source_hash != first
    path.write_bytes(text_of(bar(ISO, "600001.SH")))
    assert open_day(make_source()).source_hash != first


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "zip"])
def test_a_file_that_changes_after_it_was_recognised_is_not_loaded(
    folder: Path, make_source: SourceMaker, ending: str
) -> None:
    writers = {"csv": Path.write_bytes, "csv.gz": write_gzip, "zip": write_zip}
    path = folder / f"{ISO}.{ending}"
    writers[ending](path, text_of(bar(ISO, "600000.SH")))
    opened = open_day(make_source(files="{date}." + ending))
    writers[ending](path, text_of(bar(ISO, "600001.SH")))

    with pytest.raises(SourceChanged, match="changed after it was recognised"):
        list(opened.read())


def test_a_file_that_disappears_is_retried(folder: Path, make_source: SourceMaker) -> None:
    path = folder / f"{ISO}.csv"
    path.write_bytes(text_of(bar(ISO, "600000.SH")))
    opened = open_day(make_source())
    path.unlink()

    with pytest.raises(SourceChanged, match="is gone"):
        list(opened.read())


def test_a_link_out_of_the_folder_is_refused(
    folder: Path, tmp_path: Path, make_source: SourceMaker
) -> None:
    outside = tmp_path / "secret.csv"
    outside.write_bytes(text_of(bar(ISO, "600000.SH")))
    (folder / f"{ISO}.csv").symlink_to(outside)

    with pytest.raises(UnreadableSource, match="outside the feed's folder"):
        open_day(make_source())


def test_a_name_that_does_not_tell_the_format_is_refused(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / ISO).write_bytes(text_of(bar(ISO, "600000.SH")))

    with pytest.raises(UnreadableSource, match="its name does not tell its format"):
        open_day(make_source(files="{date}"))


def test_reading_twice_gives_the_same_rows(folder: Path, make_source: SourceMaker) -> None:
    (folder / f"{ISO}.csv").write_bytes(ROWS)
    opened = open_day(make_source())

    def rows() -> Iterator[pa.RecordBatch]:
        return (batch.rows for batch in opened.read())

    assert list(rows()) == list(rows())
