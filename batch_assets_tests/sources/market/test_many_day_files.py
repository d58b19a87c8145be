"""Folders whose files hold many days: indexed once, kept up to date, shared by processes."""

import multiprocessing
import os
import zipfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batch_assets.errors import SourceChanged, UnreadableSource
from batch_assets.sources.market import index_build
from batch_assets.sources.market.feed import Feed
from batch_assets.sources.market.files import open_feed
from batch_assets.sources.market.source import DayState, MarketSource
from batch_assets_tests.sources.market.conftest import FeedMaker, bar, text_of

DAYS = [date(2024, 9, 25) + timedelta(days=offset) for offset in (0, 1, 2, 5)]
# Later than the files the tests write, so that their time stamps can be relied on.
NOW = datetime.now(UTC) + timedelta(minutes=5)


@pytest.fixture
def feed(make_feed: FeedMaker) -> Feed:
    return make_feed(layout="by_symbol", files="*.csv")


@pytest.fixture
def cache(tmp_path: Path, calendar_cache: Path) -> Path:
    path = tmp_path / "cache"
    path.mkdir()
    (path / "calendars").symlink_to(calendar_cache / "calendars", target_is_directory=True)
    (calendar_cache / "calendars").mkdir(exist_ok=True)
    return path


def write_symbol(folder: Path, symbol: str, *, close: str = "10.0", days: Any = DAYS) -> Path:
    path = folder / f"{symbol}.csv"
    path.write_bytes(text_of(*(bar(day.isoformat(), symbol, close) for day in days)))
    return path


def rows_of(source: MarketSource, day: date) -> list[tuple[str, Decimal]]:
    return [
        (row["symbol"], row["close"])
        for batch in source.open_day(day, now=NOW).read()
        for row in batch.rows.to_pylist()
    ]


def count_parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    parsed: list[str] = []
    real = index_build.read_tables

    def counting(path: Path, *rest: Any) -> Any:
        parsed.append(path.name)
        return real(path, *rest)

    monkeypatch.setattr(index_build, "read_tables", counting)
    return parsed


def test_a_day_is_gathered_from_all_files_in_symbol_order(
    folder: Path, feed: Feed, cache: Path
) -> None:
    write_symbol(folder, "600001.SH", close="9.5")
    write_symbol(folder, "000001.SZ", close="10.5", days=DAYS[1:])
    source = open_feed(feed, cache)

    assert rows_of(source, DAYS[0]) == [("600001.SH", Decimal("9.5"))]
    assert rows_of(source, DAYS[1]) == [
        ("000001.SZ", Decimal("10.5")),
        ("600001.SH", Decimal("9.5")),
    ]


def test_rows_keep_their_places_and_original_cells(folder: Path, feed: Feed, cache: Path) -> None:
    write_symbol(folder, "600001.SH")
    write_symbol(folder, "000001.SZ")

    (batch,) = open_feed(feed, cache).open_day(DAYS[2], now=NOW).read()

    assert batch.positions.to_pylist() == [
        {"file": "000001.SZ.csv", "row": 4},
        {"file": "600001.SH.csv", "row": 4},
    ]
    assert [cells["symbol"] for cells in batch.originals([1, 0])] == ["600001.SH", "000001.SZ"]
    assert batch.rows.schema.names[0] == "source"


def test_files_are_parsed_once_and_only_changed_ones_again(
    folder: Path, feed: Feed, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = count_parsed(monkeypatch)
    for code in range(600000, 600005):
        write_symbol(folder, f"{code}.SH")
    source = open_feed(feed, cache)
    for day in DAYS:
        rows_of(source, day)
    assert len(parsed) == 5

    parsed.clear()
    rows_of(open_feed(feed, cache), DAYS[0])
    assert parsed == []

    write_symbol(folder, "600003.SH", close="10.75")
    assert dict(rows_of(open_feed(feed, cache), DAYS[0]))["600003.SH"] == Decimal("10.75")
    assert parsed == ["600003.SH.csv"]

    (folder / "600000.SH.csv").unlink()
    write_symbol(folder, "600009.SH")
    symbols = [symbol for symbol, _ in rows_of(open_feed(feed, cache), DAYS[0])]
    assert symbols == [f"{code}.SH" for code in (600001, 600002, 600003, 600004, 600009)]
    assert parsed == ["600003.SH.csv", "600009.SH.csv"]


def test_a_touched_file_is_not_parsed_again(
    folder: Path, feed: Feed, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_symbol(folder, "600000.SH")
    before = open_feed(feed, cache).open_day(DAYS[0], now=NOW).source_hash
    parsed = count_parsed(monkeypatch)

    os.utime(path, ns=(1, 1))

    assert open_feed(feed, cache).open_day(DAYS[0], now=NOW).source_hash == before
    assert parsed == []


def test_a_change_that_leaves_size_and_time_alone_is_seen_while_the_file_is_young(
    folder: Path, feed: Feed, cache: Path
) -> None:
    path = write_symbol(folder, "600000.SH", close="10.0")
    stamp = path.stat()
    just_now = datetime.fromtimestamp(stamp.st_mtime + 1, UTC)
    open_feed(feed, cache).open_day(DAYS[0], now=just_now)

    write_symbol(folder, "600000.SH", close="10.5")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    assert rows_of(open_feed(feed, cache), DAYS[0]) == [("600000.SH", Decimal("10.5"))]


def test_the_hash_of_a_day_changes_with_its_rows_alone(
    folder: Path, feed: Feed, cache: Path, make_feed: FeedMaker
) -> None:
    write_symbol(folder, "600000.SH")
    first = {day: open_feed(feed, cache).open_day(day, now=NOW).source_hash for day in DAYS}

    lines = [bar(day.isoformat(), "600000.SH") for day in [date(2024, 10, 8), *DAYS]]
    lines[1] = bar(DAYS[0].isoformat(), "600000.SH", close="10.5")
    (folder / "600000.SH.csv").write_bytes(text_of(*lines))

    second = {day: open_feed(feed, cache).open_day(day, now=NOW).source_hash for day in DAYS}
    assert [first[day] == second[day] for day in DAYS] == [False, True, True, True]
    lots = make_feed(layout="by_symbol", files="*.csv", volume_unit="lot")
    assert open_feed(lots, cache).open_day(DAYS[1], now=NOW).source_hash != second[DAYS[1]]


def test_bad_rows_belong_to_their_day_and_undated_ones_are_not_lost(
    folder: Path, feed: Feed, cache: Path
) -> None:
    lines = [
        bar("2024-09-25", "600000.SH"), bar("2024-09-26", "600000.SH", close="x"),
        bar("someday", "600000.SH"), "2024-09-27,short",
    ]  # fmt: skip
    (folder / "600000.SH.csv").write_bytes(text_of(*lines))
    source = open_feed(feed, cache)

    (batch,) = source.open_day(DAYS[1], now=NOW).read()

    assert (batch.read_rows, batch.rows.num_rows) == (1, 0)
    assert [row.violations[0].rule for row in batch.rejected] == ["unparsable_number"]
    assert batch.rejected[0].original["close"] == "x"
    undated = source.undated(now=NOW)
    assert [(row.row, row.violations[0].rule) for row in undated] == [
        (4, "unparsable_date"),
        (5, "wrong_field_count"),
    ]


def test_a_folder_with_nothing_but_bad_rows_loses_none(
    folder: Path, feed: Feed, cache: Path
) -> None:
    (folder / "600000.SH.csv").write_bytes(text_of(bar("2024-09-25", "600000.SH", close="x")))
    source = open_feed(feed, cache)

    (batch,) = source.open_day(DAYS[0], now=NOW).read()

    assert (batch.read_rows, batch.rows.num_rows, len(batch.rejected)) == (1, 0, 1)


def test_one_unreadable_file_costs_no_other(folder: Path, feed: Feed, cache: Path) -> None:
    write_symbol(folder, "600000.SH")
    (folder / "broken.csv").write_bytes(b"error\n")
    source = open_feed(feed, cache)

    opened = source.open_day(DAYS[0], now=NOW)

    assert (opened.state, opened.is_warning) == (DayState.READY, True)
    assert "1 files cannot be read: broken.csv: columns not found" in opened.message
    (row,) = source.undated(now=NOW)
    assert (row.file, row.violations[0].rule) == ("broken.csv", "unreadable_file")


def test_a_folder_of_unreadable_files_is_an_error(folder: Path, feed: Feed, cache: Path) -> None:
    (folder / "broken.csv").write_bytes(b"error\n")

    with pytest.raises(UnreadableSource, match="none of 1 files can be read"):
        open_feed(feed, cache).open_day(DAYS[0], now=NOW)


def test_days_without_rows_are_told_apart(folder: Path, feed: Feed, cache: Path) -> None:
    empty = open_feed(feed, cache).open_day(DAYS[0], now=NOW)
    write_symbol(folder, "600000.SH", days=[DAYS[0], DAYS[2]])
    source = open_feed(feed, cache)

    hole = source.open_day(DAYS[1], now=NOW)
    after = source.open_day(date(2024, 10, 8), now=NOW)
    closed = source.open_day(date(2024, 10, 1), now=NOW)

    assert [(day.state.value, day.reason) for day in (empty, hole, after, closed)] == [
        ("failed", "missing_file"), ("unconfirmed_empty", "no_rows"),
        ("failed", "missing_rows"), ("skipped", "not_a_session"),
    ]  # fmt: skip


def test_small_runs_give_the_same_days_as_one(
    folder: Path, feed: Feed, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in range(600000, 600020):
        write_symbol(folder, f"{code}.SH")
    whole = open_feed(feed, cache)
    expected = [(whole.open_day(day, now=NOW).source_hash, rows_of(whole, day)) for day in DAYS]
    monkeypatch.setattr(index_build, "RUN_BYTES", 1)

    split = open_feed(feed, tmp_path / "other")

    assert [
        (split.open_day(day, now=NOW).source_hash, rows_of(split, day)) for day in DAYS
    ] == expected
    assert len(list((tmp_path / "other" / "index").glob("*/run-*"))) == 20


def test_an_index_of_mostly_dead_rows_is_written_anew(
    folder: Path, feed: Feed, cache: Path
) -> None:
    for code in range(600000, 600004):
        write_symbol(folder, f"{code}.SH")
    rows_of(open_feed(feed, cache), DAYS[0])
    for code in range(600000, 600003):
        write_symbol(folder, f"{code}.SH", close="10.5")

    assert len(rows_of(open_feed(feed, cache), DAYS[0])) == 4
    assert len(list((cache / "index").glob("*/run-*"))) == 1


def test_a_reader_goes_on_when_another_process_rewrites_the_index(
    folder: Path, feed: Feed, cache: Path
) -> None:
    write_symbol(folder, "600000.SH")
    opened = open_feed(feed, cache).open_day(DAYS[0], now=NOW)
    lines = [bar(day.isoformat(), "600000.SH") for day in [*DAYS, date(2024, 10, 8)]]
    (folder / "600000.SH.csv").write_bytes(text_of(*lines))
    open_feed(feed, cache).open_day(DAYS[0], now=NOW)

    (batch,) = opened.read()

    assert batch.rows.num_rows == 1


def test_a_reader_stops_when_its_day_has_changed(folder: Path, feed: Feed, cache: Path) -> None:
    write_symbol(folder, "600000.SH")
    opened = open_feed(feed, cache).open_day(DAYS[0], now=NOW)
    write_symbol(folder, "600000.SH", close="10.5")
    open_feed(feed, cache).open_day(DAYS[0], now=NOW)

    with pytest.raises(SourceChanged, match="changed 2024-09-25 after it was recognised"):
        list(opened.read())


def index_in_process(feed: Feed, cache: Path, results: Any) -> None:
    results.put(rows_of(open_feed(feed, cache), DAYS[0]))


@pytest.mark.long
def test_processes_that_start_together_share_one_index(
    folder: Path, feed: Feed, cache: Path
) -> None:
    for code in range(600000, 600030):
        write_symbol(folder, f"{code}.SH")
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    workers = [
        spawn.Process(target=index_in_process, args=(feed, cache, results)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    seen = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)

    assert all(rows == seen[0] and len(rows) == 30 for rows in seen)
    assert len(list((cache / "index").glob("*/run-*"))) == 1


def test_a_damaged_manifest_is_built_again(folder: Path, feed: Feed, cache: Path) -> None:
    write_symbol(folder, "600000.SH")
    rows_of(open_feed(feed, cache), DAYS[0])
    (manifest,) = (cache / "index").glob("*/manifest.json")
    manifest.write_text("{}", encoding="utf-8")

    assert len(rows_of(open_feed(feed, cache), DAYS[0])) == 1


def test_members_of_a_zip_keep_their_places(
    folder: Path, cache: Path, make_feed: FeedMaker
) -> None:
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for symbol in ("600000.SH", "600001.SH"):
            archive.writestr(f"{symbol}.csv", text_of(*(bar(str(day), symbol) for day in DAYS)))
    source = open_feed(make_feed(layout="by_symbol", files="*.zip"), cache)

    (batch,) = source.open_day(DAYS[1], now=NOW).read()

    files = [place["file"] for place in batch.positions.to_pylist()]
    assert files == ["all.zip/600000.SH.csv", "all.zip/600001.SH.csv"]
    assert [cells["symbol"] for cells in batch.originals([0, 1])] == ["600000.SH", "600001.SH"]


def test_files_of_one_day_without_a_date_in_their_name_are_found_by_reading(
    folder: Path, cache: Path, make_feed: FeedMaker
) -> None:
    for number, day in enumerate(DAYS):
        (folder / f"download ({number}).csv").write_bytes(text_of(bar(str(day), "600000.SH")))
    source = open_feed(make_feed(layout="by_day", files="*.csv"), cache)

    assert [len(rows_of(source, day)) for day in DAYS] == [1, 1, 1, 1]
