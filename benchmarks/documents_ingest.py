"""Documents from a landing folder to committed rows, and the memory of the process that does it.

`python -m benchmarks.documents_ingest` measures the memory in a fresh process, the work described
as JSON on standard input.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.ingest import PRELOAD, GroupReport, ingest_documents
from batch_assets.ingest.documents.scan import scan_documents
from batch_assets.postgres.connect import connect
from batch_assets.sources.documents.sources import DocumentSource

_ROOT = Path(__file__).resolve().parent.parent
_WRITTEN = (
    "documents.files", "documents.documents", "documents.texts", "documents.chunks", "ops.loads",
    "ops.windows", "ops.dead_letters", "ops.checkpoints", "ops.leases",
)  # fmt: skip
# By then every module is imported and every buffer has its size.
_WARM_RATIO = 0.1


@dataclass(slots=True)
class Ingested:
    """What one ingest of a folder came to."""

    files: int = 0
    segments: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, group: GroupReport) -> None:
        """Count what was committed."""
        self.files += len(group.documents)
        self.segments += sum(report.segments for report in group.documents)
        self.outcomes.update(report.outcome for report in group.documents)


def ingest_folder(
    open_connection: Callable[[], psycopg.Connection], root: Path, workers: IsolatedWorkers
) -> Iterator[Ingested]:
    """Scan a folder and read all of it; tells after each commit how far it is."""
    source = DocumentSource(
        name="benchmark", url=str(root), settle_seconds=0, failure_limit_ratio=1.0
    )
    waiting = scan_documents(open_connection, source, now=datetime.now(UTC)).waiting
    ingested = Ingested()
    for day in waiting:
        for group in ingest_documents(open_connection, source, day, workers=workers):
            ingested.add(group)
            yield ingested


def empty_documents(admin: psycopg.Connection) -> None:
    """Forget every document."""
    tables = sql.SQL(", ").join(sql.Identifier(*name.split(".")) for name in _WRITTEN)
    admin.execute(sql.SQL("TRUNCATE {}").format(tables))


def measure_growth(url: str, folder: Path, files: int) -> dict[str, float]:
    """Read many tiny files in a fresh process; how much it grew after the first tenth."""
    described = {"url": url, "folder": str(folder), "files": files}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.documents_ingest"],
        input=json.dumps(described),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    """Do what standard input describes."""
    described = json.load(sys.stdin)
    root, files = Path(described["folder"]), int(described["files"])
    for number in range(files):
        folder = root / f"{number // 1000:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"document number {number} 数据平台", "utf-8")
    own = psutil.Process()

    def open_connection() -> psycopg.Connection:
        return connect(described["url"], application_name="batch_assets benchmark")

    with IsolatedWorkers(workers=1, spool_dir=root.parent / "spool", preload=PRELOAD) as workers:
        before = own.memory_info().rss
        sizes = [
            (ingested.files, own.memory_info().rss)
            for ingested in ingest_folder(open_connection, root, workers)
        ]
    if sizes[-1][0] != files:
        raise RuntimeError(f"{sizes[-1][0]} files were read, expected {files}")
    warm = next(size for done, size in sizes if done >= files * _WARM_RATIO)
    mib = 1024 * 1024
    # The highest afterwards, not the last: a sawtooth is growth too.
    highest = max(size for done, size in sizes if done >= files * _WARM_RATIO)
    print(json.dumps({
        "parent_memory_growth_mb": (highest - warm) / mib,
        "parent_memory_mb": sizes[-1][1] / mib,
        "parent_memory_before_mb": before / mib,
        "parent_memory_files": files,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
