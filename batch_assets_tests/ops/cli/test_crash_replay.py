"""A replay that is killed anywhere: the next one completes it, and nothing is there twice."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pytest

from batch_assets.ops.cli.main import run
from batch_assets.settings import current_settings
from batch_assets_tests.ingest.devices.landing import Plan, body_of, stored
from batch_assets_tests.ingest.devices.landing import run as load_records
from batch_assets_tests.ingest.spreadsheets.loop import edit
from batch_assets_tests.ops.cli import dying_replay
from batch_assets_tests.ops.cli.test_dead_letters import SECTION
from batch_assets_tests.polling import wait_until

pytestmark = pytest.mark.crash

# Two windows: each place is reached in the first and in the second.
PLACES = [
    f"{name}=kill@{number}"
    for name in (
        "publish.after_lease",
        "replay.after_answers",
        "replay.before_commit",
        "replay.after_commit",
    )
    for number in (1, 2)
]
_UNBALANCED = """
    SELECT load_id FROM ops.loads
    WHERE state IN ('success', 'partial')
      AND rows_read <> rows_inserted + rows_updated + rows_unchanged + rows_duplicate
                     + rows_rejected + rows_skipped
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> Path:
    # A killed writer keeps its windows for a second.
    (tmp_path / "batch_assets.toml").write_text(SECTION + "\n[loading]\nlease_seconds = 1.0\n")
    (tmp_path / "landing").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    current_settings.cache_clear()
    return tmp_path


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(statement).fetchall()  # type: ignore[arg-type]


def killed(place: str, workbook: Path) -> None:
    """Replay in a process that dies; fails where it does not."""
    command = [sys.executable, "-m", dying_replay.__name__, place, str(workbook)]
    root = Path(__file__).parents[3]
    process = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(root)}, timeout=120, check=False
    )
    assert process.returncode == -signal.SIGKILL


def load(project: Path, name: str, *rows: list[Any]) -> None:
    book = openpyxl.Workbook()
    for row in (["Order no", "Note", "Amount"], *rows):
        book.active.append(row)
    book.save(project / name)
    run(["spreadsheets", "load", name, "--day", "2024-09-30"])


@pytest.mark.parametrize("place", PLACES)
def test_killed_replay_is_completed_by_the_next(project: Path, postgres: str, place: str) -> None:
    load(project, "orders-1.xlsx", [1, "a", 5], [2, "b", "x"], [3, "c", "y"])
    load(project, "orders-2.xlsx", [4, "a", 5], [5, "b", "x"])
    run(["dead-letters", "export", "open.xlsx", "--target", "sales.orders"])
    fixed = edit(project / "open.xlsx", (1, "Amount", 6), (2, "_action", "drop"), (3, "Amount", 7))

    killed(place, fixed)
    between = ask(postgres, "SELECT order_no FROM sales.orders ORDER BY 1")
    status = run(["dead-letters", "replay", str(fixed)])

    # Each window was there whole or not at all.
    assert [n for (n,) in between] in ([1, 4], [1, 2, 4], [1, 2, 4, 5])
    assert status == 0
    rows = ask(postgres, "SELECT order_no, amount::int FROM sales.orders ORDER BY 1")
    assert rows == [(1, 5), (2, 6), (4, 5), (5, 7)]
    assert ask(postgres, _UNBALANCED) == []
    assert ask(
        postgres,
        "SELECT l.rows_read, l.rows_inserted, l.rows_unchanged, l.rows_rejected, l.rows_skipped, "
        "w.row_count FROM ops.windows AS w JOIN ops.loads AS l USING (load_id) ORDER BY 1 DESC",
    ) == [(3, 1, 1, 0, 1, 2), (2, 1, 1, 0, 0, 2)]
    assert ask(postgres, "SELECT state, count(*) FROM ops.dead_letters GROUP BY 1 ORDER BY 1") == [
        ("discarded", 1),
        ("replayed", 2),
    ]
    assert ask(postgres, "SELECT resource FROM ops.leases") == []
    assert ask(postgres, "SELECT load_id FROM ops.loads WHERE state = 'running'") == []


@pytest.mark.parametrize(
    "place", ["stream.after_rows", "stream.before_commit", "stream.after_commit"]
)
def test_killed_replay_of_records_is_completed_by_the_next(
    project: Path, postgres: str, place: str
) -> None:
    lines = [json.dumps(body_of(device, 1, 9999)) for device in ("A", "B", "C")]
    (project / "landing" / "a.ndjson").write_text("\n".join(lines) + "\n")
    load_records(Plan(postgres, str(project / "landing")))
    run(["dead-letters", "export", "open.xlsx", "--target", "devices.records"])
    good = json.dumps({"measured_at": "2025-01-31T00:01:00Z", "heart_rate": 70})
    fixed = edit(project / "open.xlsx", *((row, "main_data", good) for row in (1, 2, 3)))

    killed(f"{place}=kill", fixed)
    status = run(["dead-letters", "replay", str(fixed)])

    assert status == 0
    assert stored(postgres) == [(("A", 1), 70), (("B", 1), 70), (("C", 1), 70)]
    assert ask(postgres, "SELECT sum(rows_inserted)::int FROM ops.loads") == [(3,)]
    assert ask(postgres, _UNBALANCED) == []
    assert ask(postgres, "SELECT DISTINCT state FROM ops.dead_letters") == [("replayed",)]
    assert ask(postgres, "SELECT sum(record_count)::int FROM devices.daily_rollups") == [(3,)]
    # What a shard that was done left behind runs out, and is freed with the next start of anything.
    held = "SELECT resource FROM ops.leases WHERE expires_at > clock_timestamp()"
    wait_until(lambda: ask(postgres, held) == [], "the lease of the killed replay runs out")
