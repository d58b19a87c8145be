"""Many small files: they share transactions, and each is accounted for as if it were alone."""

import gzip
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from batch_assets.ingest.devices import reading
from batch_assets.ingest.devices.files import (
    list_waiting,
    read_progress,
    scan_device_folder,
)
from batch_assets.ingest.devices.shards import change_shard_count
from batch_assets_tests.ingest.devices.continuous_worker import Work, working
from batch_assets_tests.ingest.devices.landing import (
    Plan,
    Row,
    ask,
    drop,
    last_of,
    make_rows,
    run,
    start,
    stored,
)
from batch_assets_tests.polling import wait_until

_FILES, _ROWS = 120, 10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "landing"


def drop_many(root: Path, rows: list[Row]) -> None:
    """Files of ten rows, in the order of the rows."""
    for number in range(len(rows) // _ROWS):
        drop(root, f"{number:04d}.ndjson", rows[number * _ROWS : (number + 1) * _ROWS])


def number_of(url: str, query: str) -> int:
    ((found,),) = ask(url, query)
    assert isinstance(found, int)
    return found


def rows_read(url: str) -> int:
    return number_of(url, "SELECT coalesce(sum(rows_read), 0)::int FROM ops.loads")


def parts_written(url: str) -> int:
    return number_of(url, "SELECT count(*)::int FROM ops.batch_metrics WHERE is_committed")


def assert_all_is_done(url: str, rows: list[Row], *, rejected: int = 0) -> None:
    assert stored(url) == last_of(rows)
    assert ask(
        url,
        "SELECT sum(rows_read)::int, sum(rows_rejected)::int, sum(rows_read - rows_inserted "
        "- rows_updated - rows_unchanged - rows_duplicate - rows_rejected)::int FROM ops.loads",
    ) == [(len(rows) + rejected, rejected, 0)]
    assert ask(url, "SELECT path FROM devices.files WHERE state <> 'done'") == []
    assert ask(url, "SELECT resource FROM ops.leases") == []


def test_files_share_the_transactions_of_the_shards(postgres: str, root: Path) -> None:
    rows = make_rows(_FILES * _ROWS)
    drop_many(root, rows)

    report = run(Plan(postgres, str(root), batch_rows=_FILES * _ROWS))

    assert report.ledger.read == len(rows)
    assert parts_written(postgres) == 4
    assert_all_is_done(postgres, rows)


def test_parts_have_no_more_rows_than_they_may_have(postgres: str, root: Path) -> None:
    rows = make_rows(_FILES * _ROWS)
    drop_many(root, rows)

    run(Plan(postgres, str(root), batch_rows=100, shards=1))

    assert parts_written(postgres) == 12
    assert ask(postgres, "SELECT max(row_count) FROM ops.batch_metrics") == [(100,)]
    assert_all_is_done(postgres, rows)


def test_parts_have_no_more_files_than_they_may_have(
    postgres: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "GATHERED_FILES", 30)
    rows = make_rows(_FILES * _ROWS)
    drop_many(root, rows)

    run(Plan(postgres, str(root), batch_rows=_FILES * _ROWS, shards=1))

    assert parts_written(postgres) == 4
    assert_all_is_done(postgres, rows)


def test_large_file_between_small_ones_is_written_in_its_turn(postgres: str, root: Path) -> None:
    rows = make_rows(700)
    drop(root, "a.ndjson", rows[:50])
    drop(root, "b.ndjson", rows[50:350])
    drop(root, "c.ndjson", rows[350:400])
    drop(root, "d.ndjson", [])
    drop(root, "e.ndjson", rows[400:])

    run(Plan(postgres, str(root), batch_rows=100))

    assert_all_is_done(postgres, rows)


def test_dead_letters_name_their_own_file_and_row(postgres: str, root: Path) -> None:
    drop(root, "a.ndjson", [("SN1", 1, 60), ("SN2", 1, 999)])
    drop(root, "b.ndjson", [])
    (root / "c.csv").write_text(
        "device_sn,measured_at,heart_rate\nSN3,2025-01-31T00:01:00Z,998\nSN4,x\n"
    )
    drop(root, "d.ndjson", [("SN5", 1, 997), ("SN6", 1, 61)])
    with (root / "d.ndjson").open("a") as file:
        file.write("no json\n")

    report = run(Plan(postgres, str(root)))

    assert (report.ledger.read, report.ledger.inserted, report.ledger.rejected) == (7, 2, 5)
    assert ask(
        postgres,
        "SELECT source_file, row_number, rule FROM ops.dead_letters ORDER BY source_file, 2",
    ) == [
        ("a.ndjson", 2, "impossible_value"),
        ("c.csv", 1, "impossible_value"),
        ("c.csv", 2, "wrong_number_of_fields"),
        ("d.ndjson", 1, "impossible_value"),
        ("d.ndjson", 3, "not_a_json_object"),
    ]
    assert ask(postgres, "SELECT DISTINCT state FROM devices.files") == [("done",)]


def test_row_that_the_database_refuses_is_a_dead_letter_of_its_own_file(
    postgres: str, root: Path
) -> None:
    good = [row for row in make_rows(300) if row[2] != 99]
    drop(root, "a.ndjson", good[:20])
    drop(root, "b.ndjson", [*good[20:30], ("BAD1", 5, 99), *good[30:40]])
    drop(root, "c.ndjson", [])
    drop(root, "d.ndjson", good[40:])
    drop(root, "e.ndjson", [("BAD2", 6, 99)])
    with psycopg.connect(postgres) as conn:
        conn.execute(
            "ALTER TABLE devices.records ADD CONSTRAINT records_heart_rate_is_not_99 "
            "CHECK (heart_rate_bpm <> 99)"
        )

    report = run(Plan(postgres, str(root), batch_rows=1000, shards=2))

    assert (report.failed_shards, report.ledger.rejected) == ({}, 2)
    assert ask(
        postgres, "SELECT source_file, row_number, rule FROM ops.dead_letters ORDER BY source_file"
    ) == [("b.ndjson", 11, "refused"), ("e.ndjson", 1, "refused")]
    assert_all_is_done(postgres, good, rejected=2)


def test_files_that_cannot_be_read_leave_those_around_them(postgres: str, root: Path) -> None:
    rows = make_rows(40)
    drop_many(root, rows)
    (root / "0000a.csv").write_text("x,y\n1,2\n")
    (root / "0001a.ndjson.gz").write_bytes(gzip.compress(b"{}\n" * 50)[:-9])
    drop(root, "0002a.ndjson", [("SN-CHANGED", 1, 60)])
    with psycopg.connect(postgres) as conn:
        scan_device_folder(conn, root, datetime.now(UTC) + timedelta(hours=1))
        conn.execute("UPDATE devices.files SET sha256 = '0' WHERE path = '0002a.ndjson'")

    report = run(Plan(postgres, str(root)))

    assert sorted(report.failed_files) == ["0000a.csv", "0001a.ndjson.gz", "0002a.ndjson"]
    assert "has another content" in report.failed_files["0002a.ndjson"]
    assert ask(
        postgres, "SELECT path FROM devices.files WHERE state = 'failed' ORDER BY file_id"
    ) == [("0000a.csv",), ("0001a.ndjson.gz",), ("0002a.ndjson",)]
    assert ask(postgres, "SELECT count(*) FROM devices.files WHERE state = 'done'") == [(4,)]
    assert stored(postgres) == last_of(rows)
    # It is found as the file that it is now.
    assert run(Plan(postgres, str(root))).ledger.inserted == 1


def test_shard_that_was_held_is_written_together_later(postgres: str, root: Path) -> None:
    rows = make_rows(_FILES * _ROWS)
    drop_many(root, rows)
    with psycopg.connect(postgres) as conn:
        conn.execute(
            "INSERT INTO ops.leases (resource, holder, backend_pid, backend_start, expires_at) "
            "VALUES ('devices.records/shard-1', 'somebody', 0, now(), now() + interval '1 hour')"
        )
    first = run(Plan(postgres, str(root), batch_rows=600, lease_wait_seconds=0))
    assert ask(postgres, "SELECT DISTINCT state FROM devices.files") == [("waiting",)]
    ask(postgres, "DELETE FROM ops.leases RETURNING resource")
    before = parts_written(postgres)

    rest = run(Plan(postgres, str(root), batch_rows=600))

    assert rest.ledger.read == len(rows) - first.ledger.read
    assert {shard for shard, one in rest.ledgers.items() if one.read} == {1}
    assert parts_written(postgres) - before == 2
    assert_all_is_done(postgres, rows)


@pytest.mark.parametrize(
    "failpoint",
    [
        pytest.param("stream.after_rows=kill@9", marks=pytest.mark.crash),
        "stream.before_commit=kill@10",
        pytest.param("stream.after_commit=kill@11", marks=pytest.mark.crash),
    ],
)
def test_killed_load_costs_no_more_than_the_parts_in_hand(
    postgres: str, root: Path, failpoint: str
) -> None:
    rows = make_rows(_FILES * _ROWS)
    drop_many(root, rows)

    assert start(Plan(postgres, str(root), failpoint)).wait(60) == -signal.SIGKILL
    before = rows_read(postgres)
    report = run(Plan(postgres, str(root)))

    # Of about 12 parts of 25 rows each, some eight are committed.
    assert 100 < before < len(rows)
    assert report.ledger.read == len(rows) - before
    assert_all_is_done(postgres, rows)


def test_order_is_kept_while_a_shard_is_added(
    postgres: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(4 * _FILES * _ROWS)
    drop_many(root, rows)
    looks: list[int] = []

    def read_progress_and_add_shard(
        conn: psycopg.Connection, file_ids: Sequence[int]
    ) -> Mapping[int, Sequence[int]]:
        looks.append(len(file_ids))
        if len(looks) == 4:
            # Waits for what the shards have in hand; parts that wait for them are of the old map.
            with psycopg.connect(postgres) as other:
                change_shard_count(other, 5)
        return read_progress(conn, file_ids)

    monkeypatch.setattr(reading, "GATHERED_FILES", _FILES // 2)
    monkeypatch.setattr(reading, "read_progress", read_progress_and_add_shard)

    report = run(Plan(postgres, str(root), batch_rows=60))

    assert (report.map_changes, report.failed_shards) == (1, {})
    assert report.ledgers[4].read > 0
    assert_all_is_done(postgres, rows)


def test_continuous_mode_writes_small_files_together(postgres: str, root: Path) -> None:
    rows = make_rows(_FILES * _ROWS)
    drop_many(root, rows)

    with working(Work(postgres, str(root))) as reports:
        wait_until(
            lambda: (
                number_of(postgres, "SELECT count(*)::int FROM devices.files WHERE state = 'done'")
                == _FILES
            ),
            "all files",
        )

    assert (reports[0].ledger.read, reports[0].failures) == (len(rows), 0)
    assert parts_written(postgres) < _FILES
    assert_all_is_done(postgres, rows)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as found:
        yield found


def test_scan_locks_files_in_the_order_of_those_who_write_them(
    postgres: str, root: Path, pool: ThreadPoolExecutor
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    with psycopg.connect(postgres) as conn:
        for name in ("b.ndjson", "a.ndjson"):
            drop(root, name, [("SN1", 1, 60)])
            scan_device_folder(conn, root, later)
        first, second = list_waiting(conn)
    assert (first.path, second.path) == ("b.ndjson", "a.ndjson")
    for path in root.iterdir():
        path.write_bytes(path.read_bytes())

    def scan() -> int:
        with psycopg.connect(postgres, application_name="scan") as conn:
            return scan_device_folder(conn, root, later)

    with psycopg.connect(postgres) as conn:
        lock = "SELECT FROM devices.files WHERE file_id = %s FOR NO KEY UPDATE"
        conn.execute(lock, (first.file_id,))
        scanning = pool.submit(scan)
        wait_until(
            lambda: (
                number_of(
                    postgres,
                    "SELECT count(*)::int FROM pg_stat_activity "
                    "WHERE application_name = 'scan' AND wait_event_type = 'Lock'",
                )
                == 1
            ),
            "the scan that waits",
        )
        conn.execute("SET lock_timeout = '10s'")
        conn.execute(lock, (second.file_id,))

    assert scanning.result() == 2


def test_file_that_was_touched_stays_what_it_is(postgres: str, root: Path) -> None:
    drop(root, "a.ndjson", [("SN1", 1, 60)])
    run(Plan(postgres, str(root)))
    (root / "a.ndjson").touch()
    with psycopg.connect(postgres) as conn:
        later = datetime.now(UTC) + timedelta(hours=1)

        assert scan_device_folder(conn, root, later) == 1
        assert scan_device_folder(conn, root, later) == 0
    assert ask(postgres, "SELECT state FROM devices.files") == [("done",)]
