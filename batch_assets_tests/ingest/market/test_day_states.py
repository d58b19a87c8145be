"""Days that are incomplete or copied, from files to the ledger."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import WindowRuleBroken
from batch_assets.ingest.market.daily_bars import DayReport, options_of, sync_days
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState, RecognisedBy
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.feed import build_feeds
from batch_assets.sources.market.files import open_feed

NOW = datetime(2025, 3, 3, tzinfo=UTC)
THURSDAY, FRIDAY, MONDAY = "2024-09-26", "2024-09-27", "2024-09-30"
HEADER = "date,symbol,open,high,low,close,volume,amount"


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def sessions(count: int) -> list[str]:
    """Sessions of the exchange in a row."""
    weekdays = (date(2024, 10, 8) + timedelta(days=number) for number in range(2 * count))
    return [day.isoformat() for day in weekdays if day.weekday() < 5][:count]


class Project:
    """A feed of by-day files and the database it is loaded into."""

    def __init__(
        self, folder: Path, url: str, cache_dir: Path, chunk_rows: int, connections: int = 1
    ) -> None:
        self.folder, self.url, self.cache_dir = folder, url, cache_dir
        section = {
            "feeds": {
                "cn": {
                    "folder": str(folder),
                    "layout": "by_day",
                    "files": "{date}.csv",
                    "calendar": "XSHG",
                    "symbol": {"style": "cn"},
                }
            }
        }
        self.feed = build_feeds(section, folder)["cn"]
        self.loading = LoadingSettings(publish_connections=connections, chunk_rows=chunk_rows)

    def write(
        self, day: str, symbols: int, price: float, first: int = 0, *, repeated: int = 0
    ) -> None:
        """Bars of a day; the last `repeated` of them have the price 10 whatever the day's is."""
        prices = [price] * (symbols - repeated) + [10.0] * repeated
        rows = [
            f"{day},{600000 + n}.SH,{price},{price},{price},{price},{100 + n},{(100 + n) * price}"
            for n, price in enumerate(prices, start=first)
        ]
        (self.folder / f"{day}.csv").write_text("\n".join([HEADER, *rows]) + "\n")

    def sync(self, *days: str, force: bool = False) -> list[DayReport]:
        return list(
            sync_days(
                partial(connect, self.url, application_name="test"),
                self.feed,
                open_feed(self.feed, self.cache_dir),
                [date.fromisoformat(day) for day in days],
                now=NOW,
                options=options_of(self.feed, self.loading, force=force),
            )
        )


@pytest.fixture(params=[65_536, 500], ids=["in memory", "in chunks"])
def project(
    request: pytest.FixtureRequest, postgres: str, tmp_path: Path, cache_dir: Path
) -> Project:
    return Project(tmp_path, postgres, cache_dir, request.param)


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres, autocommit=True) as conn:
        yield conn


def states(reports: list[DayReport]) -> list[LoadState]:
    return [report.load.state for report in reports]


def test_day_with_too_few_symbols_is_loaded_as_partial_and_repaired_later(
    project: Project, conn: psycopg.Connection
) -> None:
    project.write(THURSDAY, 600, 10)
    project.write(FRIDAY, 579, 11)

    first = project.sync(THURSDAY, FRIDAY)
    again = project.sync(THURSDAY, FRIDAY)
    project.write(FRIDAY, 600, 11)
    repaired = project.sync(THURSDAY, FRIDAY)

    partial_day = first[1]
    assert states(first) == states(again) == [LoadState.SUCCESS, LoadState.PARTIAL]
    assert partial_day.load.reason == "missing_symbols"
    assert partial_day.load.ledger == Ledger(read=579, inserted=579)
    assert (partial_day.is_warning, partial_day.is_retryable) == (True, True)
    assert "579 rows after 600 on 2024-09-26" in partial_day.message
    assert again[1].load.recognised_by is RecognisedBy.SOURCE_HASH
    assert "579 rows after 600" in again[1].message
    assert states(repaired) == [LoadState.SUCCESS, LoadState.SUCCESS]
    assert repaired[1].load.ledger == Ledger(read=600, inserted=21, unchanged=579)
    stored = conn.execute(
        "SELECT state, reason, metrics ->> 'finding' LIKE '%%579 rows%%' FROM ops.loads"
        " WHERE load_id = %s",
        (partial_day.load.load_id,),
    ).fetchone()
    assert stored == ("partial", "missing_symbols", True)


def test_partial_day_is_complete_once_the_suspensions_are_known(
    project: Project, conn: psycopg.Connection
) -> None:
    project.write(THURSDAY, 600, 10)
    project.write(FRIDAY, 500, 11)
    project.sync(THURSDAY, FRIDAY)
    conn.execute(
        "INSERT INTO market.suspensions (source, trade_date, symbol, load_id)"
        " SELECT 'cn', %s, (600000 + n) || '.SH', 1 FROM generate_series(500, 599) AS n",
        (FRIDAY,),
    )

    recognised = project.sync(FRIDAY)
    compared = project.sync(FRIDAY, force=True)

    assert states(recognised) == states(compared) == [LoadState.SUCCESS]
    assert recognised[0].load.ledger == Ledger(read=500, unchanged=500)


def test_equal_content_of_a_partial_day_stays_partial(project: Project) -> None:
    project.write(THURSDAY, 600, 10)
    project.write(FRIDAY, 500, 11)
    project.sync(THURSDAY, FRIDAY)
    path = project.folder / f"{FRIDAY}.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(rows)]) + "\n")

    [report] = project.sync(FRIDAY)

    assert report.load.state is LoadState.PARTIAL
    assert report.load.ledger == Ledger(read=500, unchanged=500)


def test_day_is_held_against_the_universe_where_it_is_known(
    project: Project, conn: psycopg.Connection
) -> None:
    conn.execute(
        "INSERT INTO market.instruments (source, symbol, listed_on, load_id)"
        " SELECT 'cn', (600000 + n) || '.SH', '2020-01-01', 1 FROM generate_series(0, 629) AS n"
    )
    project.write(THURSDAY, 600, 10)
    project.write(FRIDAY, 610, 11)

    reports = project.sync(THURSDAY, FRIDAY)

    assert states(reports) == [LoadState.PARTIAL, LoadState.SUCCESS]
    assert "30 of 630 symbols that are listed and not suspended" in reports[0].message


def test_stale_copy_of_the_day_before_fails_and_the_other_days_are_loaded(
    project: Project, conn: psycopg.Connection
) -> None:
    project.write(THURSDAY, 600, 10)
    project.write(FRIDAY, 600, 10)
    project.write(MONDAY, 600, 12)

    reports = project.sync(THURSDAY, FRIDAY, MONDAY)

    assert states(reports) == [LoadState.SUCCESS, LoadState.FAILED, LoadState.SUCCESS]
    assert isinstance(reports[1].load.error, WindowRuleBroken)
    assert "600 of 600 symbols have exactly the bar of 2024-09-26" in reports[1].message
    assert conn.execute(
        "SELECT count(*) FROM market.daily_bars WHERE trade_date = %s", (FRIDAY,)
    ).fetchone() == (0,)

    project.write(FRIDAY, 600, 11)
    assert states(project.sync(FRIDAY)) == [LoadState.SUCCESS]


@pytest.mark.parametrize(("repeated", "state"), [(330, LoadState.FAILED), (270, LoadState.SUCCESS)])
def test_a_day_is_a_copy_when_more_than_half_of_it_is_whichever_half(
    project: Project, repeated: int, state: LoadState
) -> None:
    project.write(THURSDAY, 600, 10)
    project.write(FRIDAY, 600, 11, repeated=repeated)

    reports = project.sync(THURSDAY, FRIDAY)

    assert states(reports) == [LoadState.SUCCESS, state]


def test_small_days_published_together_see_each_other(
    postgres: str, tmp_path: Path, cache_dir: Path
) -> None:
    project = Project(tmp_path, postgres, cache_dir, 65_536)
    project.write(THURSDAY, 90, 10)
    project.write(FRIDAY, 90, 10)
    project.write(MONDAY, 60, 12)

    reports = {report.key: report.load.state for report in project.sync(THURSDAY, FRIDAY, MONDAY)}

    assert reports == {
        THURSDAY: LoadState.SUCCESS,
        FRIDAY: LoadState.FAILED,
        MONDAY: LoadState.PARTIAL,
    }


def test_days_of_several_connections_are_compared_with_the_day_before(
    postgres: str, tmp_path: Path, cache_dir: Path
) -> None:
    project = Project(tmp_path, postgres, cache_dir, 65_536, connections=3)
    days = sessions(12)
    for number, day in enumerate(days):
        # From one day to the next fewer are missing than is allowed, over two days more are.
        project.write(day, 3_000 - 15 * number, 10 + number)

    reports = project.sync(*days)

    assert [report.message for report in reports if report.load.state is LoadState.PARTIAL] == []
    assert states(reports) == [LoadState.SUCCESS] * 12


def test_copy_of_a_day_that_another_connection_writes_is_found(
    postgres: str, tmp_path: Path, cache_dir: Path
) -> None:
    project = Project(tmp_path, postgres, cache_dir, 65_536, connections=3)
    days = sessions(12)
    for number, day in enumerate(days):
        project.write(day, 3_000, 10 + number // 2)

    reports = {report.key: report.load.state for report in project.sync(*days)}

    assert [reports[day] for day in days] == [LoadState.SUCCESS, LoadState.FAILED] * 6


def test_correction_that_makes_a_day_a_copy_leaves_the_old_rows(
    project: Project, conn: psycopg.Connection
) -> None:
    project.write(THURSDAY, 600, 10)
    project.write(FRIDAY, 600, 11)
    project.sync(THURSDAY, FRIDAY)

    project.write(FRIDAY, 600, 10)
    [report] = project.sync(FRIDAY)

    assert report.load.state is LoadState.FAILED
    assert conn.execute(
        "SELECT DISTINCT close, revision FROM market.daily_bars WHERE trade_date = %s", (FRIDAY,)
    ).fetchall() == [(11, 1)]
    assert conn.execute("SELECT count(*) FROM market.daily_bars_history").fetchone() == (0,)


def test_day_that_the_feed_calls_identical_is_loaded(project: Project) -> None:
    for day in (THURSDAY, FRIDAY, MONDAY):
        project.write(day, 600, 10)

    refused = project.sync(THURSDAY, FRIDAY)
    identical = {"identical_days": (date.fromisoformat(FRIDAY),)}
    project.feed = project.feed.model_copy(update=identical)
    allowed = project.sync(THURSDAY, FRIDAY, MONDAY)

    assert states(refused) == [LoadState.SUCCESS, LoadState.FAILED]
    assert "add 2024-09-27 to identical_days of the feed" in refused[1].message
    assert states(allowed) == [LoadState.SUCCESS, LoadState.SUCCESS, LoadState.FAILED]
    assert "exactly the bar of 2024-09-27" in allowed[2].message


def test_exchange_that_is_missing_is_the_reason_in_the_ledger(
    project: Project, conn: psycopg.Connection
) -> None:
    project.write(THURSDAY, 600, 10)
    path = project.folder / f"{THURSDAY}.csv"
    # The last hundred are listed in Shenzhen.
    path.write_text(re.sub(r"6005(..)\.SH", r"0005\1.SZ", path.read_text()))
    project.write(FRIDAY, 500, 11)

    reports = project.sync(THURSDAY, FRIDAY)

    assert states(reports) == [LoadState.SUCCESS, LoadState.PARTIAL]
    assert reports[1].load.reason == "missing_exchange"
    assert reports[1].message.startswith("every symbol of SZ is missing")
    query = "SELECT reason FROM ops.loads WHERE load_id = %s"
    assert conn.execute(query, (reports[1].load.load_id,)).fetchone() == ("missing_exchange",)
