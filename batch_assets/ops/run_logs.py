"""The logs of runs that are on this machine, read back; runs/run_log.py writes them."""

import heapq
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from batch_assets.errors import RequestRefused
from batch_assets.ops.backfills.read import read_backfill
from batch_assets.runs.run_log import run_log_dir, run_log_path


def find_run_logs(conn: psycopg.Connection, state_dir: Path, name: str) -> list[Path]:
    """The logs of a backfill, or of one run.

    Args:
        conn: Says which runs worked for a backfill.
        state_dir: Of the settings.
        name: Number of a backfill, or the beginning of a run's id.

    Raises:
        UnknownBackfill: There is none of that number.
        RequestRefused: No log of it is on this machine.
    """
    if name.isdigit():
        read_backfill(conn, int(name))
        rows = conn.execute(
            "SELECT run_id FROM ops.backfill_runs WHERE backfill_id = %s", (int(name),)
        ).fetchall()
        found = [path for row in rows if (path := run_log_path(state_dir, str(row[0]))).exists()]
    else:
        logs = sorted(run_log_dir(state_dir).glob("*.jsonl"))
        found = [path for path in logs if path.stem.startswith(name)]
    if not found:
        raise RequestRefused(
            f"{run_log_dir(state_dir)} has no log of {name}, expected one for each run that began "
            "on this machine; look at the run in Dagster, or where its process ran"
        )
    return found


def read_lines(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The lines of all logs, oldest first; one that a crash cut off is left out."""
    yield from heapq.merge(*map(_read, paths), key=lambda line: datetime.fromisoformat(line["at"]))


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            # The process may have died while it wrote the line.
            if line.endswith("}\n"):
                yield json.loads(line)
