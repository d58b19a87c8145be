"""A day's file packed, as a workbook or as Parquet; what is cut off, hostile or unknown."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch_assets.errors import UnreadableSource
from batch_assets_tests.sources.market.conftest import HEADER, SourceMaker, bar, text_of
from batch_assets_tests.sources.market.day_reads import (
    DAY,
    ISO,
    ROWS,
    closes,
    open_day,
    read_all,
    rules_by_row,
    write_gzip,
    write_zip,
)


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


@pytest.mark.long
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


@pytest.mark.parametrize("volume_unit", ["share", "lot", 250])
@pytest.mark.parametrize("nulls", [["", "NA"], ["", "0"]], ids=["words", "a number"])
@pytest.mark.parametrize(
    "kind",
    [pa.int32(), pa.uint64(), pa.int64(), pa.decimal128(38, 0), pa.decimal128(24, 9)],
    ids=str,
)
def test_exact_numbers_of_parquet_are_what_their_texts_are(
    folder: Path, make_source: SourceMaker, kind: pa.DataType, nulls: list[str], volume_unit: object
) -> None:
    numbers = [0, 1, 2**31 - 1, None]
    if kind == pa.decimal128(24, 9):
        numbers += [Decimal("1.5"), Decimal("0.000000001"), Decimal(10) ** 14]
    if kind == pa.decimal128(38, 0):
        numbers += [Decimal(10) ** 20, Decimal(10) ** 37]
    count = len(numbers)
    volumes = pa.array(numbers, kind)
    columns = {
        "date": pa.array([DAY] * count, pa.date32()),
        "symbol": [f"60000{number}.SH" for number in range(count)],
        **{name: ["1"] * count for name in ("open", "high", "low", "close", "amount")},
    }
    found = []
    for cells in (volumes, volumes.cast(pa.string())):
        pq.write_table(pa.table({**columns, "volume": cells}), folder / f"{ISO}.parquet")
        source = make_source(files="{date}.parquet", nulls=nulls, volume_unit=volume_unit)
        opened = open_day(source)
        (batch,) = read_all(opened)
        found.append((batch.rows.to_pylist(), rules_by_row([batch]), dict(opened.notes)))

    assert found[0] == found[1]
    assert found[0][0]


@pytest.mark.parametrize(
    ("moment", "zone"),
    [
        ("00:00", None),
        ("00:00", "UTC"),
        ("07:00", "UTC"),  # the close in Shanghai
        ("00:00", "Asia/Shanghai"),
        ("20:00", "America/New_York"),
        pytest.param("-08:00", "UTC", id="midnight in Shanghai, the day before in UTC"),
    ],
)
def test_timestamps_of_parquet_are_dates_of_the_exchange(
    folder: Path, make_source: SourceMaker, moment: str, zone: str | None
) -> None:
    hours = int(moment.split(":", maxsplit=1)[0])
    wall_clock = datetime(DAY.year, DAY.month, DAY.day, tzinfo=ZoneInfo(zone) if zone else None)
    table = pa.table(
        {
            "date": pa.array([wall_clock + timedelta(hours=hours)], pa.timestamp("us", zone)),
            "symbol": ["600000.SH"],
            "open": [10.1], "high": [11.0], "low": [9.0], "close": [10.0],
            "volume": pa.array([5], pa.int64()), "amount": [50.0],
        }
    )  # fmt: skip
    pq.write_table(table, folder / f"{ISO}.parquet")

    (batch,) = read_all(open_day(make_source(files="{date}.parquet")))

    assert [rejected.violations for rejected in batch.rejected] == []
    assert batch.rows["trade_date"].to_pylist() == [DAY]


def test_a_parquet_file_cut_in_half_is_refused(folder: Path, make_source: SourceMaker) -> None:
    (folder / f"{ISO}.parquet").write_bytes(b"PAR1 and no more")

    with pytest.raises(UnreadableSource, match="not a complete Parquet file"):
        open_day(make_source(files="{date}.parquet"))


def test_a_name_that_does_not_tell_the_format_is_refused(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / ISO).write_bytes(text_of(bar(ISO, "600000.SH")))

    with pytest.raises(UnreadableSource, match="its name does not tell its format"):
        open_day(make_source(files="{date}"))


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gz", gzip.compress),
    ("bz2", bz2.compress),
    ("xz", lzma.compress),
    ("zst", lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True))),
]


@pytest.mark.parametrize(("ending", "pack"), PACKERS, ids=[ending for ending, _ in PACKERS])
def test_packed_text_is_read_in_one_stream_or_in_several_and_refused_when_cut_off(
    folder: Path, make_source: SourceMaker, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    path = folder / f"{ISO}.csv.{ending}"
    half = ROWS.index(b"\n", len(ROWS) // 2) + 1
    path.write_bytes(pack(ROWS[:half]) + pack(ROWS[half:]))
    source = make_source(files="{date}.csv." + ending)

    assert sum(batch.rows.num_rows for batch in read_all(open_day(source))) == 300

    path.write_bytes(pack(ROWS)[:-20])
    with pytest.raises(UnreadableSource, match="fetch it again"):
        read_all(open_day(source))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("unpacked by the browser.csv.gz", ROWS),
        ("packed and renamed.csv", gzip.compress(ROWS)),
        ("packed otherwise.csv.gz", bz2.compress(ROWS)),
    ],
)
def test_first_bytes_know_better_than_the_name(
    folder: Path, make_source: SourceMaker, name: str, data: bytes
) -> None:
    (folder / f"{ISO} {name}").write_bytes(data)

    batches = read_all(open_day(make_source(files="{date} *")))

    assert sum(batch.rows.num_rows for batch in batches) == 300


def test_a_format_that_the_feed_states_outranks_the_first_bytes(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / f"{ISO}.csv.gz").write_bytes(ROWS)

    with pytest.raises(UnreadableSource, match="not a complete gzip file"):
        read_all(open_day(make_source(files="{date}.csv.gz", format="csv.gz")))


def test_a_workbook_named_csv_is_read_as_a_workbook(folder: Path, make_source: SourceMaker) -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append(HEADER.split(","))
    sheet.append([ISO, "600000.SH", 10.1, 11, 9, 10.25, 1e6, 1000])
    workbook.save(folder / f"{ISO}.xlsx")
    (folder / f"{ISO}.xlsx").rename(folder / f"{ISO}.csv")

    assert closes(read_all(open_day(make_source()))) == {"600000.SH": Decimal("10.25")}


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "xls", "parquet", "zip"])
def test_a_web_page_is_named_as_what_it_is(
    folder: Path, make_source: SourceMaker, ending: str
) -> None:
    page = b"\n<!DOCTYPE html><html><head><title>403 Forbidden</title></head><body>No</body></html>"
    (folder / f"{ISO}.{ending}").write_bytes(page)

    with pytest.raises(UnreadableSource, match="is a web page titled '403 Forbidden'"):
        read_all(open_day(make_source(files="{date}." + ending)))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("stated", ["utf-8", "gb18030", "utf-32"])
def test_a_byte_order_mark_outranks_the_stated_encoding(
    folder: Path, make_source: SourceMaker, encoding: str, stated: str
) -> None:
    text = ROWS.decode()
    marked = text if encoding in ("utf-16", "utf-32", "utf-8-sig") else "\ufeff" + text
    (folder / f"{ISO}.csv").write_bytes(marked.encode(encoding))

    batches = read_all(open_day(make_source(encoding=stated)))

    assert sum(batch.rows.num_rows for batch in batches) == 300


def test_rows_may_end_with_a_delimiter_that_the_header_lacks(
    folder: Path, make_source: SourceMaker
) -> None:
    lines = ROWS.decode().splitlines()
    ending = "\n".join([lines[0], *(f"{line}," for line in lines[1:]), ""])
    (folder / f"{ISO}.csv").write_text(ending)
    opened = open_day(make_source())
    assert sum(batch.rows.num_rows for batch in read_all(opened)) == 300

    (folder / f"{ISO}.csv").write_text("\n".join([f"{lines[0]},", *lines[1:], ""]))
    assert sum(batch.rows.num_rows for batch in read_all(open_day(make_source()))) == 300

    # One such row alone is a broken record, and costs no other row.
    (folder / f"{ISO}.csv").write_text("\n".join([lines[0], f"{lines[1]},", *lines[2:], ""]))
    assert sum(batch.rows.num_rows for batch in read_all(open_day(make_source()))) == 299


def test_parquet_text_that_is_stored_as_bytes_is_text(
    folder: Path, make_source: SourceMaker
) -> None:
    table = pa.table(
        {
            "date": pa.array([ISO.encode()] * 2, pa.binary()),
            "symbol": pa.array([b"600000.SH", b"600001.SH"], pa.large_binary()),
            "open": [10.0, 10.0], "high": [11.0, 11.0], "low": [9.0, 9.0], "close": [10.0, 10.5],
            "volume": pa.array([5, 6], pa.int64()),
        }
    )  # fmt: skip
    pq.write_table(table, folder / f"{ISO}.parquet")

    batches = read_all(open_day(make_source(files="{date}.parquet")))

    assert closes(batches) == {"600000.SH": Decimal(10), "600001.SH": Decimal("10.5")}
