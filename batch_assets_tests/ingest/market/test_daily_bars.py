from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import SourceUnavailable
from batch_assets.ingest.market.daily_bars import DayReport, options_of, sync_days
from batch_assets.loading.report import LoadState
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.feed import Feed, build_feeds
from batch_assets.sources.market.files import open_feed

NOW = datetime(2024, 10, 20, tzinfo=UTC)
FRIDAY, SATURDAY, MONDAY = date(2024, 9, 27), date(2024, 9, 28), date(2024, 9, 30)
HEADER = "date,symbol,open,high,low,close,volume,amount"

Sync = Callable[..., dict[str, DayReport]]


def day_text(day: date, rows: int) -> str:
    return "\n".join([HEADER, *(f"{day},T{n},10,11,9,10.5,100,1050" for n in range(rows))]) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of a feed whose own calendar is open on Friday and Monday."""
    (tmp_path / "days.csv").write_text(f"{FRIDAY},open\n{SATURDAY},closed\n{MONDAY},open\n")
    (tmp_path / "files").mkdir()
    return tmp_path


def build_feed(folder: Path, settings: Mapping[str, object]) -> Feed:
    body = {
        "folder": "files",
        "layout": "by_day",
        "files": "{date}.csv",
        "calendar": "OWN",
        "calendar_file": "days.csv",
        "time_zone": "UTC",
        "closes_at": "16:00:00",
        "symbol": {"exchange": "XX"},
        **settings,
    }
    return build_feeds({"feeds": {"own": body}}, folder)["own"]


@pytest.fixture
def sync(postgres: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Sync:
    cache_dir = tmp_path_factory.getbasetemp() / "calendars"

    def run(*days: date, now: datetime = NOW, **settings: object) -> dict[str, DayReport]:
        feed = build_feed(folder, settings)
        reports = sync_days(
            lambda: psycopg.connect(postgres),
            feed,
            open_feed(feed, cache_dir),
            iter(days),
            now=now,
            options=options_of(feed, LoadingSettings(), run_id="test"),
        )
        return {report.key: report for report in reports}

    return run


def write(folder: Path, day: date, text: str) -> None:
    (folder / "files" / f"{day}.csv").write_text(text)


def test_each_day_has_one_report(sync: Sync, folder: Path) -> None:
    write(folder, FRIDAY, day_text(FRIDAY, 3))

    reports = sync(FRIDAY, SATURDAY, MONDAY)

    assert {key: report.load.state for key, report in reports.items()} == {
        "2024-09-27": LoadState.SUCCESS,
        "2024-09-28": LoadState.SKIPPED,
        "2024-09-30": LoadState.FAILED,
    }
    assert reports["2024-09-27"].load.ledger.inserted == 3
    assert "not a session" in reports["2024-09-28"].message
    assert isinstance(reports["2024-09-30"].load.error, SourceUnavailable)
    assert reports["2024-09-30"].is_retryable


def test_rows_on_a_closed_day_are_loaded_with_a_warning(sync: Sync, folder: Path) -> None:
    write(folder, SATURDAY, day_text(SATURDAY, 2))

    [report] = sync(SATURDAY).values()

    assert report.load.state is LoadState.SUCCESS
    assert report.is_warning
    assert "is closed by" in report.message


def test_file_without_a_row_is_not_a_success(sync: Sync, folder: Path) -> None:
    write(folder, FRIDAY, f"{HEADER}\n")

    [report] = sync(FRIDAY).values()

    assert report.load.state is LoadState.UNCONFIRMED_EMPTY
    assert report.is_retryable


def test_unreadable_file_fails_its_day_alone(sync: Sync, folder: Path) -> None:
    (folder / "files" / f"{FRIDAY}.csv").write_bytes(b"\xff\xfe\x00broken")
    write(folder, MONDAY, day_text(MONDAY, 3))

    reports = sync(FRIDAY, MONDAY)

    assert reports["2024-09-27"].load.state is LoadState.FAILED
    assert "2024-09-27.csv" in reports["2024-09-27"].message
    assert reports["2024-09-30"].load.state is LoadState.SUCCESS


def test_missing_folder_fails_every_day_and_says_which(sync: Sync) -> None:
    reports = sync(FRIDAY, MONDAY, folder="elsewhere")

    assert {report.load.state for report in reports.values()} == {LoadState.FAILED}
    assert all("elsewhere" in report.message for report in reports.values())


def test_day_before_its_close_is_not_ready(sync: Sync, folder: Path) -> None:
    write(folder, FRIDAY, day_text(FRIDAY, 3))

    [report] = sync(FRIDAY, now=datetime(2024, 9, 27, 15, 59, tzinfo=UTC)).values()

    assert report.load.state is LoadState.NOT_READY
    assert report.is_retryable


def test_rows_without_a_date_are_a_report_of_their_own(sync: Sync, folder: Path) -> None:
    (folder / "files" / "all.csv").write_text(f"{day_text(FRIDAY, 3)}soon,T9,10,11,9,10,1,1\n")

    reports = sync(FRIDAY, layout="by_symbol", files="*.csv")

    assert reports["2024-09-27"].load.state is LoadState.SUCCESS
    assert reports["undated"].load.state is LoadState.FAILED
    assert reports["undated"].load.reason == "unparsable_date"

    again = sync(FRIDAY, layout="by_symbol", files="*.csv")["undated"]
    assert again.load.state is LoadState.SKIPPED
    assert again.is_warning
    assert again.message.startswith("1 rows have no readable date")
    assert again.message.endswith("none of them is new")


def test_changed_values_are_counted_by_rule(sync: Sync, folder: Path) -> None:
    text = day_text(FRIDAY, 1).replace("10.5", "10.12345678")
    write(folder, FRIDAY, text)

    [report] = sync(FRIDAY).values()

    assert report.load.state is LoadState.SUCCESS
    assert sum(report.notes.values()) == 1


@pytest.mark.parametrize(
    ("settings", "rows", "ratio"),
    [
        ({}, 7, 0.25),
        ({"reject_limit_rows": 0}, 0, 0.25),
        ({"reject_limit_ratio": 1.0}, 7, 1.0),
    ],
)
def test_feeds_own_reject_limit_wins(
    folder: Path, settings: dict[str, object], rows: int, ratio: float
) -> None:
    loading = LoadingSettings(reject_limit_rows=7, reject_limit_ratio=0.25)

    limit = options_of(build_feed(folder, settings), loading).reject_limit

    assert (limit.rows, limit.ratio) == (rows, ratio)
