"""Files are dropped while everything runs, and a run is killed in the middle of them."""

import os
import signal
import threading
from pathlib import Path

import psycopg
import pytest

from batch_assets.ops.up import running_stack
from batch_assets.settings import load_settings
from batch_assets_tests.polling import wait_until

PROJECT = Path(__file__).resolve().parents[2]

FILES = 300
LAST = "zz_last.txt"

# Two looks of the sensor, the start of a run, the repair of a dead one (60 s) and another run, on
# a machine that does other things as well.
SECONDS = 240.0


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(query.encode()).fetchall()


def value(url: str, query: str) -> object:
    ((found,),) = rows(url, query)
    return found


def hold_last_file(url: str, held: threading.Event, release: threading.Event) -> None:
    """Lock the row of the last file as soon as a run has claimed it: its group has to wait."""
    claimed = "SELECT count(*) FROM documents.files WHERE claimed_by IS NOT NULL"
    wait_until(lambda: value(url, claimed), "a run has claimed the files", SECONDS)
    with psycopg.connect(url) as conn:
        conn.execute("SELECT FROM documents.files WHERE path = %s FOR UPDATE", (LAST,))
        held.set()
        release.wait(SECONDS)


@pytest.mark.crash
def test_dropped_files_end_in_one_state_each_although_their_run_is_killed(
    postgres: str, tmp_path: Path
) -> None:
    (tmp_path / "dagster.yaml").write_bytes((PROJECT / "dagster.yaml").read_bytes())
    (tmp_path / "batch_assets.toml").write_text(
        '[documents.sources.inbox]\nurl = "landing"\nsettle_seconds = 1\nwatch_seconds = 5\n'
    )
    landing = tmp_path / "landing"
    landing.mkdir()
    settings = load_settings({"BATCH_ASSETS_DATABASE_URL": postgres}, working_dir=tmp_path)
    held, release = threading.Event(), threading.Event()
    holder = threading.Thread(target=hold_last_file, args=(postgres, held, release), daemon=True)
    waiting = "SELECT count(*) FROM documents.files WHERE state IN ('growing', 'waiting')"
    done = "SELECT count(*) FROM documents.files WHERE state = 'done'"

    with running_stack(settings):
        for number in range(FILES):
            (landing / f"{number:03}.txt").write_text(f"the report of branch {number}")
        (landing / LAST).write_text("the report of the last branch")
        (landing / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing that follows")
        holder.start()
        wait_until(held.is_set, "the last file is held", SECONDS)
        wait_until(lambda: value(postgres, done) != 0, "a group is committed", SECONDS)
        ((run_id, pid),) = rows(postgres, "SELECT run_id, pid FROM ops.run_workers")
        os.kill(int(str(pid)), signal.SIGKILL)
        left = value(postgres, waiting)
        release.set()
        holder.join(SECONDS)
        wait_until(lambda: value(postgres, waiting) == 0, "every file has ended", SECONDS)
        finished = "SELECT count(*) FROM dagster.runs WHERE status = 'SUCCESS'"
        wait_until(lambda: value(postgres, finished), "the second run has ended", SECONDS)

    assert int(str(left)) > 0
    assert value(postgres, f"SELECT status FROM dagster.runs WHERE run_id = '{run_id}'") == (
        "FAILURE"
    )
    assert rows(
        postgres,
        "SELECT state, outcome, count(*) FROM documents.files GROUP BY 1, 2 ORDER BY 1",
    ) == [("done", "ok", FILES + 1), ("failed", "corrupt", 1)]
    # Nothing that was committed was read a second time.
    assert rows(postgres, "SELECT DISTINCT attempts FROM documents.files") == [(1,)]
    assert value(postgres, "SELECT count(*) FROM documents.documents") == FILES + 2
    assert value(postgres, "SELECT count(*) FROM documents.search('report branches', 1000)") == (
        FILES + 1
    )
    (report,) = (settings.state_dir / "reports" / "documents" / "inbox").iterdir()
    assert "broken.pdf" in report.read_text("utf-8")
    assert value(postgres, "SELECT count(*) FROM ops.leases") == 0
