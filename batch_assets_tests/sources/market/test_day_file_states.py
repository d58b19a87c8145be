"""Which file a day has, and what the day is when there is none, another one or an empty one."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from batch_assets.errors import SourceChanged, SourceUnavailable, UnreadableSource
from batch_assets.sources.market.source import DayState
from batch_assets_tests.sources.market.conftest import HEADER, SourceMaker, bar, text_of
from batch_assets_tests.sources.market.day_reads import (
    ISO,
    closes,
    open_day,
    read_all,
    write_gzip,
    write_zip,
)


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
