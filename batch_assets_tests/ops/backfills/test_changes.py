from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from batch_assets.errors import BackfillEnded, RequestRefused, UnknownBackfill
from batch_assets.ops.backfills import changes
from batch_assets.ops.backfills.read import (
    read_audit,
    read_backfill,
    read_errors,
    read_progress,
)
from batch_assets.ops.backfills.requests import launch
from batch_assets_tests.ops.backfills.planted import TEN_DAYS, plant_load, plant_run, request

NOW = datetime(2024, 10, 1, 0, 1, tzinfo=UTC)


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres) as connection:
        launch(connection, request(), "ann")
        yield connection


def end(conn: psycopg.Connection, state: str) -> None:
    conn.execute(
        "UPDATE ops.backfills SET state = %s, ended_at = now() WHERE backfill_id = 1", (state,)
    )


def test_pause_resume_priority_and_cancel_are_wanted_and_audited(conn: psycopg.Connection) -> None:
    conn.execute("UPDATE ops.backfills SET state = 'running'")

    assert changes.pause(conn, 1, "bob").phase == "pausing"
    assert changes.resume(conn, 1, "bob").phase == "running"
    assert changes.set_priority(conn, 1, 5, "bob").priority == 5
    assert changes.cancel(conn, 1, "bob").phase == "canceling"
    # Twice is once.
    changes.cancel(conn, 1, "bob")

    done = [(entry.action, entry.actor) for entry in read_audit(conn, subject="1")]
    assert done == [
        ("backfill.cancel", "bob"),
        ("backfill.priority", "bob"),
        ("backfill.resume", "bob"),
        ("backfill.pause", "bob"),
        ("backfill.launch", "ann"),
    ]
    with pytest.raises(BackfillEnded, match="is being canceled"):
        changes.resume(conn, 1, "bob")


@pytest.mark.parametrize("change", [changes.pause, changes.resume, changes.cancel])
def test_a_finished_backfill_is_never_changed(conn: psycopg.Connection, change: object) -> None:
    end(conn, "success")

    with pytest.raises(BackfillEnded, match=r"backfill 1 has ended \(success\)"):
        change(conn, 1, "bob")  # type: ignore[operator]

    assert read_backfill(conn, 1).state == "success"
    with pytest.raises(UnknownBackfill, match="there is no backfill 7"):
        change(conn, 7, "bob")  # type: ignore[operator]


def test_a_paused_feed_holds_its_backfills(conn: psycopg.Connection) -> None:
    assert changes.pause_feed(conn, "cn", "bob")
    assert not changes.pause_feed(conn, "cn", "bob")
    assert read_backfill(conn, 1).phase == "pausing"

    assert changes.resume_feed(conn, "cn", "bob")

    assert not changes.resume_feed(conn, "cn", "bob")
    assert read_backfill(conn, 1).phase == "requested"
    done = [entry.action for entry in read_audit(conn, action="feed.", subject="cn")]
    assert done == ["feed.resume", "feed.pause"]


def test_progress_counts_each_partition_once_by_what_the_backfill_did(
    conn: psycopg.Connection,
) -> None:
    run = plant_run(conn, 1, "run-1")
    plant_load(conn, run, TEN_DAYS[0], rows=60)
    plant_load(conn, run, TEN_DAYS[1], "failed", rows=0, error=("UnreadableSource", "cut off"))
    plant_load(conn, run, TEN_DAYS[2], "skipped", rows=0, reason="not_a_session")
    plant_load(conn, run, TEN_DAYS[3], "running")
    # After a crash another run passes over what is there, and goes on with the rest.
    again = plant_run(conn, 1, "run-2")
    plant_load(conn, again, TEN_DAYS[0], "skipped", rows=0, reason="already_present")
    plant_load(conn, again, TEN_DAYS[3], "partial", rows=40, rejected=3)
    plant_load(conn, again, TEN_DAYS[4], "running")
    # Somebody else's run, and rows of no day.
    plant_load(conn, "stranger", TEN_DAYS[5])
    plant_load(conn, again, "undated", "failed", rows=0)

    seen = read_progress(conn, 1, NOW)

    assert (seen.success, seen.partial, seen.failed, seen.skipped) == (1, 1, 1, 1)
    assert (seen.running, seen.waiting, seen.done, seen.total) == (1, 5, 4, 10)
    assert (seen.done_pct, seen.current_key) == (40.0, TEN_DAYS[4])
    assert (seen.rows_read, seen.rows_inserted, seen.rows_rejected) == (100, 97, 3)
    assert seen.rows_per_second == pytest.approx(100 / 2)
    assert seen.symbols_per_second == pytest.approx(97 / 2)
    assert seen.eta is not None
    # What is held ends when somebody lets it go.
    changes.pause(conn, 1, "ann")
    assert read_progress(conn, 1, NOW).eta is None


def test_errors_are_paged_without_a_cap_and_retried_alone(conn: psycopg.Connection) -> None:
    run = plant_run(conn, 1, "run-1")
    for key in TEN_DAYS[:7]:
        plant_load(conn, run, key, "failed", rows=0, error=("SourceUnavailable", f"{key}: 503"))
    plant_load(conn, run, TEN_DAYS[7])
    plant_load(conn, run, TEN_DAYS[8], "skipped", rows=0, reason="not_a_session")
    assert read_errors(conn, 1).total == 7
    with pytest.raises(RequestRefused, match="backfill 1 is requested, expected one that has"):
        changes.retry_failed(conn, 1, "bob")
    end(conn, "partial")

    first = read_errors(conn, 1, limit=5)
    second = read_errors(conn, 1, limit=5, before_position=first.next_before)
    retry = changes.retry_failed(conn, 1, "bob").backfill

    assert (first.total, len(first.errors), len(second.errors)) == (8, 5, 3)
    assert second.next_before is None
    # Never begun, although the backfill has ended: that is an error, too.
    assert (first.errors[0].partition_key, first.errors[0].state) == (TEN_DAYS[9], "waiting")
    assert first.errors[1].message == f"{TEN_DAYS[6]}: 503"
    assert (retry.retry_of, retry.partitions) == (1, 8)
    assert read_audit(conn, action="backfill.retry")[0].detail["retry_of"] == 1


def test_there_is_nothing_to_retry_where_all_ended_well(postgres: str) -> None:
    with psycopg.connect(postgres) as conn:
        launch(conn, request(TEN_DAYS[0]), "ann")
        plant_load(conn, plant_run(conn, 1, "run-1"), TEN_DAYS[0])
        end(conn, "success")

        with pytest.raises(RequestRefused, match="no partition that failed"):
            changes.retry_failed(conn, 1, "bob")
