"""An ingest that is killed anywhere: the next one reads only what was in flight."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.ingest import PRELOAD
from batch_assets_tests.ingest.documents.inbox import Inbox, Plan, start

FILES = 24
GROUP = 4


@contextmanager
def ingesting(plan: Plan) -> Iterator["subprocess.Popen[str]"]:
    with start(plan) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    "failpoint",
    [
        pytest.param("stream.after_lease=kill", marks=pytest.mark.crash),
        pytest.param("stream.after_rows=kill@3", marks=pytest.mark.crash),
        "stream.before_commit=kill@4",
        pytest.param("stream.after_commit=kill@4", marks=pytest.mark.crash),
    ],
)
def test_killed_ingest_is_continued(postgres: str, tmp_path: Path, failpoint: str) -> None:
    root = tmp_path / "landing"
    with IsolatedWorkers(workers=2, spool_dir=tmp_path / "spool", preload=PRELOAD) as workers:
        inbox = Inbox(postgres, root, workers)
        for number in range(FILES):
            inbox.drop(f"{number:02d}.txt", f"document number {number} 数据平台")
        inbox.drop("bad.pdf", b"%PDF-1.7")
        inbox.scan()
        plan = Plan(postgres, str(root), str(tmp_path / "spool"), failpoint, GROUP)

        with ingesting(plan) as process:
            reported = process.communicate(timeout=60)[0].split()
        done = {path for path, (state, _) in inbox.files().items() if state in ("done", "failed")}
        ingested = inbox.ingest()

    assert process.returncode == -signal.SIGKILL
    assert set(reported) <= done
    assert done.isdisjoint(ingested.documents)
    assert len(done) + len(ingested.documents) == FILES + 1
    ledger = ingested.load.ledger
    assert (ledger.read, ledger.rejected) == (FILES + 1, 1)
    assert inbox.rows("SELECT count(*), count(DISTINCT path) FROM documents.documents") == [
        (FILES + 1, FILES + 1)
    ]
    assert inbox.rows("SELECT count(DISTINCT document_id), count(*) FROM documents.chunks") == [
        (FILES, FILES)
    ]
    assert inbox.rows("SELECT count(*) FROM ops.dead_letters WHERE state = 'open'") == [(1,)]
    assert inbox.rows("SELECT * FROM ops.leases") == []
    assert inbox.rows("SELECT * FROM ops.loads WHERE state = 'running'") == []
    assert inbox.rows("SELECT * FROM ops.checkpoints") == []
