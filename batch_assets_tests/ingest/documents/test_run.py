from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from batch_assets.contracts.table import Scope, Window
from batch_assets.errors import LeaseHeld, SourceUnavailable
from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.ingest import PRELOAD, IngestOptions
from batch_assets.ingest.documents.run import ingest_days, scan_whole
from batch_assets.ingest.documents.tables import DOCUMENTS
from batch_assets.ingest.documents.waiting import read_waiting_sets
from batch_assets.loading.streams import StreamOptions, open_stream
from batch_assets_tests.ingest.documents.inbox import DAY, NOW, OLD, Inbox

NEXT_DAY = date(2024, 10, 1)
NEXT = OLD + 86_400


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedWorkers]:
    spool = tmp_path_factory.mktemp("spool")
    with IsolatedWorkers(workers=1, spool_dir=spool, spare_workers=0, preload=PRELOAD) as made:
        yield made


@pytest.fixture
def inbox(postgres: str, tmp_path: Path, workers: IsolatedWorkers) -> Inbox:
    root = tmp_path / "inbox"
    root.mkdir()
    return Inbox(postgres, root, workers)


def options(wait_seconds: float = 20) -> IngestOptions:
    stream = StreamOptions(
        lease_seconds=5, lease_wait_seconds=wait_seconds, first_wait_seconds=0.01
    )
    return IngestOptions(stream=stream)


def test_days_are_read_one_after_the_other_and_counted(inbox: Inbox) -> None:
    inbox.drop("a.txt", "first day")
    inbox.drop("bad.pdf", b"%PDF-1.7\nnothing that follows")
    inbox.drop("b.txt", "second day", changed=NEXT)
    inbox.scan()
    told: list[date] = []

    first, second = ingest_days(
        inbox.open,
        inbox.source,
        [DAY, NEXT_DAY],
        workers=inbox.workers,
        options=options(),
        tell=lambda day, _group: told.append(day),
    )

    assert (first.day, first.files, first.documents) == (DAY, {"ok": 1, "corrupt": 1}, 2)
    assert (first.ledger.read, first.ledger.inserted, first.ledger.rejected) == (2, 1, 1)
    assert (second.day, second.files, second.chunks) == (NEXT_DAY, {"ok": 1}, 1)
    assert set(told) == {DAY, NEXT_DAY}
    assert not first.is_over_budget


def test_day_that_somebody_else_reads_is_reported_and_the_others_go_on(inbox: Inbox) -> None:
    inbox.drop("a.txt", "first day")
    inbox.drop("b.txt", "second day", changed=NEXT)
    inbox.scan()
    scope = Scope((("source", "inbox"),))

    with open_stream(inbox.open, [DOCUMENTS], scope, Window.of_day(DAY)):
        held, read = ingest_days(
            inbox.open,
            inbox.source,
            [DAY, NEXT_DAY],
            workers=inbox.workers,
            options=options(wait_seconds=0.3),
        )

    assert isinstance(held.error, LeaseHeld)
    assert (held.load, held.files, held.documents) == (None, {"waiting": 1}, 0)
    assert (read.error, read.files) == (None, {"ok": 1})


def test_scan_in_parts_reaches_the_end(inbox: Inbox) -> None:
    inbox.settings["files_per_scan"] = 2
    for number in range(5):
        inbox.drop(f"{number}.txt", str(number))

    scanned = scan_whole(inbox.open, inbox.source, now=lambda: NOW)

    assert scanned.report.is_complete
    assert (scanned.report.listed, scanned.report.new) == (5, 5)
    assert scanned.waiting == {DAY: 5}


def test_scan_that_runs_out_of_time_says_where_it_stopped(inbox: Inbox) -> None:
    inbox.settings["files_per_scan"] = 2
    for number in range(5):
        inbox.drop(f"{number}.txt", str(number))

    scanned = scan_whole(inbox.open, inbox.source, now=lambda: NOW, seconds=0)

    assert scanned.report.position == "1.txt"
    assert scanned.waiting == {DAY: 2}


def test_file_that_was_just_written_is_looked_at_a_second_time(inbox: Inbox) -> None:
    inbox.settings["settle_seconds"] = 0.3
    (inbox.root / "fresh.txt").write_text("just now")

    scanned = scan_whole(inbox.open, inbox.source, now=lambda: NOW)

    assert (scanned.report.new, scanned.report.growing) == (1, 0)
    assert list(scanned.waiting.values()) == [1]


def test_scan_gives_way_to_another_one_of_the_same_source(inbox: Inbox) -> None:
    inbox.drop("a.txt", "a")
    with inbox.open() as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('documents.files/inbox', 0))")

        busy = scan_whole(inbox.open, inbox.source, now=lambda: NOW, seconds=0.5)
        other.rollback()

    assert busy.report.is_busy
    assert scan_whole(inbox.open, inbox.source, now=lambda: NOW).waiting == {DAY: 1}


def test_missing_folder_is_no_empty_folder(inbox: Inbox) -> None:
    inbox.root.rmdir()

    with pytest.raises(SourceUnavailable, match="is not a folder"):
        scan_whole(inbox.open, inbox.source, now=lambda: NOW)


def test_waiting_set_changes_with_each_file_that_ends(inbox: Inbox) -> None:
    inbox.drop("a.txt", "a")
    inbox.drop("b.txt", "b")
    inbox.scan()
    with inbox.open() as conn:
        [before] = read_waiting_sets(conn, "inbox")
        conn.execute(
            "UPDATE documents.files SET looked_at = looked_at - interval '1 hour', claimed_by = 7"
        )
        [claimed] = read_waiting_sets(conn, "inbox")
        conn.execute(
            "UPDATE documents.files SET state = 'done', outcome = 'ok' WHERE path = 'a.txt'"
        )
        [after] = read_waiting_sets(conn, "inbox")

    assert claimed.fingerprint == before.fingerprint
    assert claimed.waiting_seconds > before.waiting_seconds + 3_000
    assert (before.waiting, after.waiting) == (2, 1)
    assert after.fingerprint != before.fingerprint
