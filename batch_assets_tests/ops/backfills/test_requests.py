import threading
from collections.abc import Iterator

import psycopg
import pytest

from batch_assets.errors import BackfillOverlaps, RequestRefused
from batch_assets.ops.backfills.read import list_backfills, read_audit
from batch_assets.ops.backfills.requests import find_running, launch
from batch_assets.ops.backfills.values import Launched
from batch_assets.runs.backfill_states import BackfillState
from batch_assets_tests.ops.backfills.planted import TEN_DAYS, request


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres) as connection:
        yield connection


def test_launch_records_the_partitions_and_who_asked(conn: psycopg.Connection) -> None:
    launched = launch(conn, request(whys={TEN_DAYS[0]: "missing"}), "ann@desk")

    assert launched.is_new
    assert launched.backfill.state is BackfillState.REQUESTED
    assert (launched.backfill.first_key, launched.backfill.last_key) == (TEN_DAYS[0], TEN_DAYS[-1])
    stored = conn.execute(
        "SELECT position, partition_key, why FROM ops.backfill_partitions ORDER BY position LIMIT 2"
    ).fetchall()
    assert stored == [(1, TEN_DAYS[0], "missing"), (2, TEN_DAYS[1], None)]
    (entry,) = read_audit(conn, action="backfill.")
    assert (entry.actor, entry.action, entry.subject) == ("ann@desk", "backfill.launch", "1")
    assert entry.detail["partitions"] == len(TEN_DAYS)


def test_the_same_range_again_is_the_running_backfill(conn: psycopg.Connection) -> None:
    first = launch(conn, request(), "ann")

    second = launch(conn, request(), "bob")

    assert (second.is_new, second.backfill.backfill_id) == (False, first.backfill.backfill_id)
    assert find_running(conn, request()) == first.backfill
    assert [entry.actor for entry in read_audit(conn)] == ["ann"]


def test_eight_requests_at_once_make_one_backfill(postgres: str) -> None:
    answers: list[Launched] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        with psycopg.connect(postgres) as conn:
            barrier.wait(10)
            answers.append(launch(conn, request(), "ci"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert {answer.backfill.backfill_id for answer in answers} == {1}
    assert sum(answer.is_new for answer in answers) == 1
    assert len(answers) == 8


def test_an_overlapping_range_is_refused_and_names_the_other(conn: psycopg.Connection) -> None:
    launch(conn, request(), "ann")

    with pytest.raises(BackfillOverlaps, match=r"overlaps backfill 1 .*batch-assets cancel 1") as e:
        launch(conn, request(TEN_DAYS[3], "2024-10-08"), "bob")

    assert e.value.backfill_id == 1
    assert launch(conn, request("2024-10-08"), "bob").is_new
    assert launch(conn, request(asset_key="market/us/daily_bars"), "bob").is_new


def test_a_range_can_be_loaded_again_after_its_end(conn: psycopg.Connection) -> None:
    launch(conn, request(), "ann")
    conn.execute("UPDATE ops.backfills SET state = 'success', ended_at = now()")

    again = launch(conn, request(), "ann")

    assert (again.is_new, again.backfill.backfill_id) == (True, 2)
    assert [item.backfill_id for item in list_backfills(conn)] == [2, 1]
    assert [item.backfill_id for item in list_backfills(conn, is_unfinished=True)] == [2]


def test_a_request_without_partitions_is_refused(conn: psycopg.Connection) -> None:
    with pytest.raises(RequestRefused, match="no partition to load"):
        launch(conn, request(asset_key="a").__class__("a", "f", "t", "s", ()), "ann")
