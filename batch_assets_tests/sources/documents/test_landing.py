"""The seen-set: what a scan records, and what it leaves alone."""

from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from batch_assets.sources.documents.landing import read_waiting_days, scan_source
from batch_assets.sources.documents.landing_folder import (
    open_folder,
)
from batch_assets_tests.sources.documents.landing_scans import (
    NOW,
    OLD,
    finish,
    scan,
    source_of,
    states,
    write,
)


def test_new_files_wait_under_the_day_of_their_time(conn: psycopg.Connection, root: Path) -> None:
    write(root / "a.pdf")
    write(root / "deep" / "er" / "b.docx", changed=OLD - 86_400)

    report = scan(conn, source_of(root))

    assert (report.listed, report.new, report.is_complete) == (2, 2, True)
    assert states(conn) == {"a.pdf": "waiting", "deep/er/b.docx": "waiting"}
    assert read_waiting_days(conn, "inbox") == {date(2024, 9, 29): 1, date(2024, 9, 30): 1}


def test_second_scan_writes_nothing(conn: psycopg.Connection, root: Path) -> None:
    write(root / "a.pdf")
    write(root / "b.pdf")
    scan(conn, source_of(root))
    before = conn.execute("SELECT path, xmin, ctid FROM documents.files ORDER BY 1").fetchall()

    report = scan(conn, source_of(root))

    assert (report.listed, report.new, report.changed) == (2, 0, 0)
    after = conn.execute("SELECT path, xmin, ctid FROM documents.files ORDER BY 1").fetchall()
    assert after == before


def test_copies_with_old_times_are_found_after_newer_ones(
    conn: psycopg.Connection, root: Path
) -> None:
    write(root / "new.pdf")
    scan(conn, source_of(root))
    write(root / "copied.pdf", changed=OLD - 10_000_000)

    report = scan(conn, source_of(root))

    assert report.new == 1
    assert states(conn)["copied.pdf"] == "waiting"


def test_file_that_is_still_written_waits_for_a_second_look(
    conn: psycopg.Connection, root: Path
) -> None:
    future = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    path = write(root / "upload.pdf", "half", changed=future)
    source = source_of(root, settle_seconds=0)

    first = scan(conn, source)
    write(path, "half and more", changed=future)
    second = scan(conn, source)
    after_growth = states(conn)
    third = scan(conn, source)

    assert (first.growing, second.growing, third.growing) == (1, 1, 0)
    assert after_growth == {"upload.pdf": "growing"}
    assert states(conn) == {"upload.pdf": "waiting"}


def test_file_changed_just_now_is_not_read_yet(conn: psycopg.Connection, root: Path) -> None:
    (root / "fresh.pdf").write_text("text")

    first = scan(conn, source_of(root, settle_seconds=3_600))
    second = scan(conn, source_of(root, settle_seconds=3_600))

    assert (first.growing, second.changed) == (1, 0)
    assert states(conn) == {"fresh.pdf": "growing"}


def test_changed_file_waits_again(conn: psycopg.Connection, root: Path) -> None:
    write(root / "a.pdf")
    scan(conn, source_of(root))
    finish(conn, "a.pdf")
    unchanged = scan(conn, source_of(root))
    write(root / "a.pdf", "text", changed=OLD + 1)

    report = scan(conn, source_of(root))

    assert (unchanged.changed, report.changed) == (0, 1)
    assert states(conn) == {"a.pdf": "waiting"}


@pytest.mark.parametrize(("policy", "texts"), [("mark", 1), ("remove", 0)])
def test_deleted_file_is_marked_by_policy(
    conn: psycopg.Connection, root: Path, policy: str, texts: int
) -> None:
    write(root / "a.pdf")
    write(root / "b.pdf")
    source = source_of(root, deleted=policy)
    scan(conn, source)
    finish(conn, "a.pdf")
    (root / "a.pdf").unlink()

    report = scan(conn, source)

    assert report.deleted == 1
    assert states(conn) == {"a.pdf": "deleted", "b.pdf": "waiting"}
    found = conn.execute(
        "SELECT deleted_at IS NOT NULL, (SELECT count(*) FROM documents.texts) "
        "FROM documents.documents"
    ).fetchall()
    assert found == [(True, texts)]


def test_deleted_file_is_kept_where_nobody_cares(conn: psycopg.Connection, root: Path) -> None:
    write(root / "a.pdf")
    write(root / "b.pdf")
    source = source_of(root, deleted="keep")
    scan(conn, source)
    (root / "a.pdf").unlink()

    assert scan(conn, source).deleted == 0
    assert states(conn)["a.pdf"] == "waiting"


def test_file_that_comes_back_waits_again(conn: psycopg.Connection, root: Path) -> None:
    write(root / "a.pdf")
    write(root / "b.pdf")
    scan(conn, source_of(root))
    (root / "a.pdf").unlink()
    scan(conn, source_of(root))
    write(root / "a.pdf")

    scan(conn, source_of(root))

    assert states(conn) == {"a.pdf": "waiting", "b.pdf": "waiting"}


def test_days_come_from_folders_where_configured(conn: psycopg.Connection, root: Path) -> None:
    write(root / "2023-01-31" / "sub" / "a.pdf")
    write(root / "2023" / "02" / "01" / "b.pdf")
    write(root / "c.pdf")

    scan(conn, source_of(root, day="folder"))

    rows = conn.execute("SELECT path, arrival_day, outcome FROM documents.files ORDER BY 1")
    assert rows.fetchall() == [
        ("2023-01-31/sub/a.pdf", date(2023, 1, 31), None),
        ("2023/02/01/b.pdf", date(2023, 2, 1), None),
        ("c.pdf", date(2024, 10, 1), "refused"),
    ]


def test_times_that_say_nothing_count_as_today_once(conn: psycopg.Connection, root: Path) -> None:
    write(root / "epoch.pdf", changed=0)
    write(root / "future.pdf", changed=NOW.timestamp() + 10 * 86_400)

    scan(conn, source_of(root))
    scan(conn, source_of(root), now=datetime(2024, 10, 5, tzinfo=UTC))

    days = conn.execute("SELECT DISTINCT arrival_day FROM documents.files").fetchall()
    assert days == [(date(2024, 10, 1),)]


def test_two_scans_of_a_source_take_turns(
    conn: psycopg.Connection, root: Path, postgres: str
) -> None:
    write(root / "a.pdf")
    source = source_of(root)
    with psycopg.connect(postgres) as other:
        scan_source(other, source, open_folder(source), now=NOW)

        report = scan(conn, source, after="somewhere")

        assert report.is_busy
        assert report.position == "somewhere"
        assert not report.is_complete


def test_vanished_files_wait_again_when_they_are_there(
    conn: psycopg.Connection, root: Path
) -> None:
    write(root / "a.pdf")
    scan(conn, source_of(root))
    conn.execute("UPDATE documents.files SET state = 'failed', outcome = 'vanished'")

    scan(conn, source_of(root))

    assert states(conn) == {"a.pdf": "waiting"}
