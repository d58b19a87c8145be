"""A landing folder for tests: files, scans and ingests in one place."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg

from batch_assets.execution import failpoints
from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.ingest import (
    PRELOAD,
    GroupReport,
    IngestOptions,
    ingest_documents,
)
from batch_assets.ingest.documents.scan import Scanned, scan_documents
from batch_assets.ingest.documents.write import DocumentReport
from batch_assets.loading.report import LoadReport
from batch_assets.loading.streams import StreamOptions
from batch_assets.postgres.connect import connect
from batch_assets.sources.documents.sources import DocumentSource

DAY = date(2024, 9, 30)
NOW = datetime(2024, 10, 1, 12, tzinfo=UTC)
OLD = datetime(2024, 9, 30, 8, tzinfo=UTC).timestamp()


@dataclass
class Inbox:
    """A source named `inbox` and the database it is read into."""

    url: str
    root: Path
    workers: IsolatedWorkers
    settings: dict[str, object] = field(default_factory=dict)

    @property
    def source(self) -> DocumentSource:
        values = {"name": "inbox", "url": str(self.root), "failure_limit_ratio": 1, **self.settings}
        return DocumentSource(**values)  # type: ignore[arg-type]

    def open(self) -> psycopg.Connection:
        return connect(self.url, application_name="test of documents")

    def drop(self, name: str, content: str | bytes, *, changed: float = OLD) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (changed, changed))
        return path

    def scan(self) -> Scanned:
        return scan_documents(self.open, self.source, now=NOW)

    def scan_now(self, now: datetime) -> Scanned:
        return scan_documents(self.open, self.source, now=now)

    def ingest(self, day: date = DAY, **options: object) -> "Ingested":
        stream = StreamOptions(lease_seconds=1.0, lease_wait_seconds=20, first_wait_seconds=0.01)
        given = IngestOptions(**{"stream": stream, **options})  # type: ignore[arg-type]
        return Ingested(
            list(ingest_documents(self.open, self.source, day, workers=self.workers, options=given))
        )

    def run(self, day: date = DAY, **options: object) -> "Ingested":
        self.scan()
        return self.ingest(day, **options)

    def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url) as conn:
            return conn.execute(query, parameters).fetchall()  # type: ignore[call-overload]

    def files(self) -> dict[object, tuple[object, object]]:
        rows = self.rows("SELECT path, state, outcome FROM documents.files ORDER BY path")
        return {path: (state, outcome) for path, state, outcome in rows}


@dataclass
class Ingested:
    """What one ingest reported."""

    groups: list[GroupReport]

    @property
    def documents(self) -> dict[str, DocumentReport]:
        return {report.path: report for group in self.groups for report in group.documents}

    @property
    def load(self) -> LoadReport:
        load = self.groups[-1].load
        assert load is not None
        return load


@dataclass(frozen=True)
class Plan:
    """What a process of its own ingests."""

    url: str
    root: str
    spool: str
    failpoints: str
    group_documents: int = 4


def start(plan: Plan) -> "subprocess.Popen[str]":
    """Start a process that ingests; it prints the path of each document it reports."""
    return subprocess.Popen(
        [sys.executable, "-m", __spec__.name, json.dumps(asdict(plan))],
        stdout=subprocess.PIPE,
        text=True,
    )


def main(arguments: Sequence[str]) -> None:
    plan = Plan(**json.loads(arguments[0]))
    failpoints.arm(plan.failpoints)
    with IsolatedWorkers(workers=2, spool_dir=Path(plan.spool), preload=PRELOAD) as workers:
        inbox = Inbox(plan.url, Path(plan.root), workers)
        stream = StreamOptions(lease_seconds=1.0)
        options = IngestOptions(group_documents=plan.group_documents, stream=stream)
        for group in ingest_documents(
            inbox.open, inbox.source, DAY, workers=workers, options=options
        ):
            for report in group.documents:
                sys.stdout.write(f"{report.path}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
