"""Backfills through a real webserver, daemon, code server and GraphQL."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shutil import copy

import psycopg
import pytest

from batch_assets.ops.stack import RunningStack
from batch_assets.ops.up import running_stack
from batch_assets.runs.graphql import post_query
from batch_assets.runs.launch import launch_backfill
from batch_assets.runs.watch import BackfillProgress, BackfillState, watch_backfill
from batch_assets_tests.defs.market_files import Market, day_text
from batch_assets_tests.polling import wait_until

PROJECT = Path(__file__).resolve().parents[2]

_PARTITIONS = """
query Partitions($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetPartitionStatuses {
        ... on TimePartitionStatuses { ranges { status startKey endKey } }
      }
    }
  }
}
"""

_EVALUATIONS = """
query Checks($key: AssetKeyInput!, $check: String!) {
  assetCheckExecutions(assetKey: $key, checkName: $check, limit: 50) {
    evaluation { success partition description }
  }
}
"""

_RUNS = "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"


@pytest.fixture
def project(postgres: str, tmp_path: Path) -> Market:
    """A project folder; the stack gets its state folder below it."""
    market = Market(tmp_path, postgres, tmp_path / ".batch_assets")
    market.add_feed("cn")
    copy(PROJECT / "dagster.yaml", tmp_path)
    return market


def span(first: str, last: str) -> list[str]:
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [(start + timedelta(n)).isoformat() for n in range((end - start).days + 1)]


def key_of(feed: str) -> list[str]:
    return ["market", feed, "daily_bars"]


@contextmanager
def started(market: Market) -> Iterator[RunningStack]:
    """Without its daemon, which looks at backfills when it starts and then every 30 seconds."""
    with running_stack(market.settings, with_daemon=False) as stack:
        yield stack


def launch(stack: RunningStack, feed: str, days: list[str]) -> str:
    return launch_backfill(
        stack.webserver_url, key_of(feed), days, tags={"batch_assets/feed": feed}, title=feed
    )


def finish(stack: RunningStack, backfill_id: str) -> BackfillProgress:
    *_, last = watch_backfill(stack.webserver_url, backfill_id, deadline_seconds=240)
    return last


def read_partitions(stack: RunningStack, feed: str) -> dict[str, set[str]]:
    """Keys by status, as the UI colours them."""
    reply = post_query(stack.webserver_url, _PARTITIONS, {"key": {"path": key_of(feed)}})
    found: dict[str, set[str]] = {}
    for part in reply["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]:
        keys = span(part["startKey"], part["endKey"])
        found.setdefault(part["status"], set()).update(keys)
    return found


def read_failed_days(stack: RunningStack, feed: str) -> dict[str, str]:
    """Description by partition of the evaluations that failed for one day."""
    variables = {"key": {"path": key_of(feed)}, "check": "every_day_is_loaded"}
    reply = post_query(stack.webserver_url, _EVALUATIONS, variables)
    evaluations = [run["evaluation"] for run in reply["assetCheckExecutions"] if run["evaluation"]]
    return {e["partition"]: e["description"] for e in evaluations if e["partition"]}


def count_runs(stack: RunningStack) -> Mapping[tuple[str, str], int]:
    """Number of runs by feed and status."""
    return Counter(
        (tag["value"], run["status"])
        for run in post_query(stack.webserver_url, _RUNS)["runsOrError"]["results"]
        for tag in run["tags"]
        if tag["key"] == "batch_assets/feed"
    )


@pytest.mark.long
def test_backfill_of_a_range_marks_exactly_the_bad_day(project: Market) -> None:
    days = span("2024-09-26", "2024-10-09")
    broken = "2024-09-30"
    for day in ("2024-09-26", "2024-09-27", "2024-10-08", "2024-10-09"):
        project.write("cn", day, day_text(day, 8))
    project.write("cn", broken, day_text(broken, 4, bad=4))

    with started(project) as stack:
        backfill_id = launch(stack, "cn", days)
        stack.start_daemon()
        last = finish(stack, backfill_id)
        partitions = read_partitions(stack, "cn")
        reasons = read_failed_days(stack, "cn")

    assert last.state is BackfillState.COMPLETED_FAILED
    assert (last.targeted, last.materialized, last.failed) == (14, 13, 1)
    assert partitions == {"MATERIALIZED": set(days) - {broken}, "FAILED": {broken}}
    assert list(reasons) == [broken]
    assert "4 of 8 rows were rejected" in reasons[broken]
    assert set(project.stored_days("cn").values()) == {8}


@pytest.mark.long
def test_backfill_with_a_day_that_is_not_ready_ends(project: Market) -> None:
    project.add_feed("coins", calendar="24/7")
    today = datetime.now(UTC).date()
    days = [(today - timedelta(n)).isoformat() for n in (2, 1, 0)]
    for day in days[:2]:
        project.write("coins", day, day_text(day, 3).replace(".SH", ""))

    with started(project) as stack:
        backfill_id = launch(stack, "coins", days)
        stack.start_daemon()
        last = finish(stack, backfill_id)
        partitions = read_partitions(stack, "coins")
        runs = count_runs(stack)

    # Dagster has no word for "not yet": its backfill ends and counts the day as not materialised,
    # the run is a success, and the asset shows the day as missing, so that it is asked for again.
    assert last.state is BackfillState.COMPLETED_FAILED
    assert (last.targeted, last.materialized, last.failed) == (3, 2, 1)
    assert partitions == {"MATERIALIZED": set(days[:2])}
    assert runs == {("coins", "SUCCESS"): 1}
    assert project.rows("SELECT state FROM ops.loads WHERE window_key = %s", days[2]) == [
        ("not_ready",)
    ]


@pytest.mark.long
def test_two_backfills_of_a_feed_queue_while_another_feed_goes_on(project: Market) -> None:
    project.add_feed("cn", max_partitions_per_run="1")
    project.add_feed("us", calendar="XNYS")
    days = ["2024-09-26", "2024-09-27"]
    for feed in ("cn", "us"):
        for day in days:
            project.write(feed, day, day_text(day, 3).replace(".SH", "" if feed == "us" else ".SH"))

    # Every writer of the feed `cn` waits for this lock, as behind a long migration.
    with started(project) as stack, psycopg.connect(project.url) as blocker:
        blocker.execute("SELECT 1 FROM ops.loads")
        blocker.execute(
            "INSERT INTO market.daily_bars (source, symbol, trade_date, volume, load_id) "
            "SELECT 'cn', '600000.SH', day::date, 1, 0 FROM unnest(%s::text[]) AS day",
            [days],
        )
        ids = [launch(stack, "cn", days), launch(stack, "cn", days)]
        other = launch(stack, "us", days)
        stack.start_daemon()
        assert finish(stack, other).state is BackfillState.COMPLETED_SUCCESS
        wait_until(
            lambda: count_runs(stack).get(("cn", "STARTED")) == 2, "two runs of the feed run", 90
        )
        assert count_runs(stack)["cn", "QUEUED"] == 2
        blocker.rollback()
        ends = [finish(stack, backfill_id) for backfill_id in ids]

    assert [end.state for end in ends] == [BackfillState.COMPLETED_SUCCESS] * 2
    assert project.stored_days("cn") == dict.fromkeys(days, 3)
