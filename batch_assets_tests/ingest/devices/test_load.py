"""Landing files of devices in shards: every row once, each device in order, whatever happens."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import LeaseHeld
from batch_assets.ingest.devices.files import scan_device_folder
from batch_assets.ingest.devices.shards import change_shard_count
from batch_assets.loading.ledger import Ledger
from batch_assets_tests.ingest.devices.landing import (
    Plan,
    ask,
    drop,
    last_of,
    make_rows,
    run,
    start,
    stored,
)

_ROLLUPS_DIFFER = """
    SELECT device_sn, (measured_at AT TIME ZONE 'UTC')::date, count(*), sum(heart_rate_bpm)
    FROM devices.records GROUP BY 1, 2
    EXCEPT SELECT device_sn, day, record_count, heart_rate_sum FROM devices.daily_rollups
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "landing"


def assert_all_is_loaded_once(url: str, rows: list[tuple[str, int, int]]) -> None:
    assert stored(url) == last_of(rows)
    assert ask(
        url,
        "SELECT sum(rows_read), sum(rows_inserted), sum(rows_read - rows_inserted - rows_updated "
        "- rows_unchanged - rows_duplicate - rows_rejected) FROM ops.loads",
    ) == [(len(rows), len(last_of(rows)), 0)]
    assert ask(url, _ROLLUPS_DIFFER) == []
    assert ask(url, "SELECT path FROM devices.files WHERE state <> 'done'") == []
    assert ask(url, "SELECT resource FROM ops.leases") == []


def test_files_are_loaded_in_order_and_once(postgres: str, root: Path) -> None:
    rows = make_rows(3000)
    drop(root, "a.ndjson", rows[:1000])
    drop(root, "b.ndjson", rows[1000:])

    report = run(Plan(postgres, str(root)))
    again = run(Plan(postgres, str(root)))

    assert_all_is_loaded_once(postgres, rows)
    assert (report.ledger.read, report.failed_shards, report.failed_files) == (3000, {}, {})
    assert report.ledger.inserted == len(last_of(rows))
    assert sorted(report.ledgers) == [0, 1, 2, 3]
    assert all(ledger.read > 300 for ledger in report.ledgers.values())
    assert again.ledger == Ledger()


def test_two_loads_at_once_share_the_shards(postgres: str, root: Path) -> None:
    rows = make_rows(2000)
    drop(root, "a.ndjson", rows[:1000])
    drop(root, "b.ndjson", rows[1000:])

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(run, [Plan(postgres, str(root), lease_wait_seconds=0)] * 2))

    assert sum(report.ledger.read for report in reports) == 2000
    for report in reports:
        assert all(isinstance(error, LeaseHeld) for error in report.failed_shards.values())
    assert_all_is_loaded_once(postgres, rows)


def test_rejected_rows_are_dead_letters_of_their_file(postgres: str, root: Path) -> None:
    drop(root, "a.ndjson", [("SN1", 1, 60), ("SN2", 1, 999), ("SN3", 1, 70)])
    with (root / "a.ndjson").open("a") as file:
        file.write("no json\n")

    report = run(Plan(postgres, str(root)))

    assert (report.ledger.read, report.ledger.inserted, report.ledger.rejected) == (4, 2, 2)
    assert ask(
        postgres, "SELECT source_file, row_number, rule FROM ops.dead_letters ORDER BY row_number"
    ) == [("a.ndjson", 2, "impossible_value"), ("a.ndjson", 4, "not_a_json_object")]


def test_file_that_cannot_be_read_does_not_stop_the_others(postgres: str, root: Path) -> None:
    rows = make_rows(300)
    drop(root, "a.ndjson", rows[:100])
    (root / "b.csv").write_text("x,y\n1,2\n")
    drop(root, "c.ndjson", rows[100:])
    (root / "readme.txt").write_text("not a file of records")

    report = run(Plan(postgres, str(root)))

    assert list(report.failed_files) == ["b.csv"]
    assert ask(postgres, "SELECT path, state FROM devices.files ORDER BY path") == [
        ("a.ndjson", "done"),
        ("b.csv", "failed"),
        ("c.ndjson", "done"),
    ]
    assert stored(postgres) == last_of(rows)


def test_file_that_was_replaced_is_another_file(postgres: str, root: Path) -> None:
    drop(root, "a.ndjson", [("SN1", 1, 60)])
    run(Plan(postgres, str(root)))
    drop(root, "a.ndjson", [("SN1", 1, 60), ("SN1", 2, 61)])

    report = run(Plan(postgres, str(root)))

    assert (report.ledger.read, report.ledger.inserted, report.ledger.unchanged) == (2, 1, 1)
    assert ask(postgres, "SELECT path, state FROM devices.files") == [("a.ndjson", "done")] * 2


def test_file_that_is_gone_waits_for_its_content(postgres: str, root: Path) -> None:
    drop(root, "a.ndjson", [("SN1", 1, 60)])
    with psycopg.connect(postgres) as conn:
        scan_device_folder(conn, root, datetime.now(UTC) + timedelta(hours=1))
    away = (root / "a.ndjson").rename(root / "away")

    assert list(run(Plan(postgres, str(root))).failed_files) == ["a.ndjson"]
    assert ask(postgres, "SELECT state FROM devices.files") == [("failed",)]

    away.rename(root / "a.ndjson")

    assert run(Plan(postgres, str(root))).ledger.inserted == 1
    assert ask(postgres, "SELECT state, reason FROM devices.files") == [("done", None)]


def test_file_that_may_still_grow_is_left_alone(postgres: str, root: Path) -> None:
    drop(root, "a.ndjson", [("SN1", 1, 60)])
    with psycopg.connect(postgres) as conn:
        assert scan_device_folder(conn, root, datetime.now(UTC) - timedelta(minutes=1)) == 0


def test_name_that_is_no_text_does_not_stop_the_others(
    postgres: str, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drop(root, "a.ndjson", [("SN1", 1, 60)])
    (root / os.fsdecode(b"\xff.ndjson")).write_text("{}\n")

    assert run(Plan(postgres, str(root))).ledger.inserted == 1
    assert "xff.ndjson' is left out" in caplog.text or "udcff.ndjson' is left out" in caplog.text


def test_empty_file_is_done(postgres: str, root: Path) -> None:
    drop(root, "a.ndjson", [])

    assert run(Plan(postgres, str(root))).ledger == Ledger()
    assert ask(postgres, "SELECT state FROM devices.files") == [("done",)]


def test_one_shard_that_cannot_be_written_leaves_the_others_running(
    postgres: str, root: Path
) -> None:
    rows = make_rows(1000)
    drop(root, "a.ndjson", rows[:500])
    drop(root, "b.ndjson", rows[500:])
    with psycopg.connect(postgres) as conn:
        conn.execute(
            "INSERT INTO ops.leases (resource, holder, backend_pid, backend_start, expires_at) "
            "VALUES ('devices.records/shard-1', 'somebody', 0, now(), now() + interval '1 hour')"
        )

    report = run(Plan(postgres, str(root), lease_wait_seconds=0.1))

    assert list(report.failed_shards) == [1]
    assert isinstance(report.failed_shards[1], LeaseHeld)
    assert report.ledgers[1] == Ledger()
    assert all(report.ledgers[shard].read > 100 for shard in (0, 2, 3))
    assert ask(postgres, "SELECT DISTINCT state FROM devices.files") == [("waiting",)]

    ask(postgres, "DELETE FROM ops.leases RETURNING resource")
    rest = run(Plan(postgres, str(root)))

    assert rest.ledger.read == 1000 - report.ledger.read
    assert_all_is_loaded_once(postgres, rows)


def reshard_when(url: str, rows_loaded: int, shards: int) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as conn:
        while time.monotonic() < deadline:
            found = conn.execute("SELECT coalesce(sum(rows_read), 0) FROM ops.loads").fetchone()
            if found and found[0] >= rows_loaded:
                with conn.transaction():
                    change_shard_count(conn, shards)
                return
            threading.Event().wait(0.005)
    raise AssertionError(f"{rows_loaded} rows were not loaded in time")


def test_devices_keep_their_order_while_a_shard_is_added(postgres: str, root: Path) -> None:
    rows = make_rows(4000)
    drop(root, "a.ndjson", rows[:2500])
    drop(root, "b.ndjson", rows[2500:])
    resharding = threading.Thread(target=reshard_when, args=(postgres, 800, 5))
    resharding.start()

    report = run(Plan(postgres, str(root), batch_rows=60))
    resharding.join()

    assert report.map_changes == 1
    assert report.failed_shards == {}
    assert_all_is_loaded_once(postgres, rows)
    assert ask(postgres, "SELECT count(DISTINCT shard) FROM devices.shard_map") == [(5,)]
    assert report.ledgers[4].read > 0


@pytest.mark.parametrize(
    "failpoint",
    [
        pytest.param("stream.after_rows=kill@20", marks=pytest.mark.crash),
        "stream.before_commit=kill@30",
        pytest.param("stream.after_commit=kill@40", marks=pytest.mark.crash),
    ],
)
def test_killed_load_is_continued_to_the_row(postgres: str, root: Path, failpoint: str) -> None:
    rows = make_rows(3000)
    drop(root, "a.ndjson", rows[:2000])
    drop(root, "b.ndjson", rows[2000:])

    assert start(Plan(postgres, str(root), failpoint)).wait(60) == -signal.SIGKILL
    ((before,),) = ask(postgres, "SELECT sum(rows_read)::int FROM ops.loads")
    report = run(Plan(postgres, str(root)))

    assert isinstance(before, int)
    assert 0 < before < 3000
    assert report.ledger.read == 3000 - before
    assert_all_is_loaded_once(postgres, rows)


@pytest.mark.crash
def test_killed_load_is_continued_by_another_map(postgres: str, root: Path) -> None:
    rows = make_rows(3000)
    drop(root, "a.ndjson", rows[:2000])
    drop(root, "b.ndjson", rows[2000:])

    assert start(Plan(postgres, str(root), "stream.before_commit=kill@30")).wait(60) == (
        -signal.SIGKILL
    )
    reshard_when(postgres, 1, 5)
    run(Plan(postgres, str(root)))

    assert_all_is_loaded_once(postgres, rows)
