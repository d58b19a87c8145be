"""One batch of real files, and `kill -9` of any process that reads it, in the middle."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.ingest import PRELOAD
from batch_assets_tests.ingest.documents.inbox import OLD, Inbox, Plan, start
from benchmarks.documents_corpus import Corpus, open_corpus
from benchmarks.documents_ingest import measure_growth

pytestmark = pytest.mark.crash

GROUP = 4


def land(corpus: Corpus, root: Path) -> None:
    root.mkdir()
    for file in corpus.files:
        shutil.copyfile(file.path, root / file.path.name)
        os.utime(root / file.path.name, (OLD, OLD))


def read_some(process: "subprocess.Popen[str]", number: int) -> list[str]:
    """The first documents that are reported; they are committed."""
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(number)]


def target_of(process: "subprocess.Popen[str]", kind: str) -> int:
    if kind == "ingest":
        return process.pid
    running = sorted(psutil.Process(process.pid).children(True), key=psutil.Process.create_time)
    by_module = {
        module: [
            child.pid for child in running if f"batch_assets.execution.{module}" in child.cmdline()
        ]
        for module in ("host", "template", "worker")
    }
    # Workers are forks of the template, which is older, or were started by themselves.
    by_module["worker"] += by_module["template"][1:]
    assert by_module[kind], f"no {kind} is running"
    return by_module[kind][0]


@pytest.mark.parametrize("kind", ["ingest", "host", "worker"])
def test_killed_process_changes_nothing_of_the_end(
    postgres: str, tmp_path: Path, kind: str
) -> None:
    corpus = open_corpus(tmp_path / "generated")
    root, spool = tmp_path / "landing", tmp_path / "spool"
    land(corpus, root)
    with IsolatedWorkers(workers=1, spool_dir=spool, preload=PRELOAD) as workers:
        inbox = Inbox(postgres, root, workers)
        inbox.scan()
        with start(Plan(postgres, str(root), str(spool), "", GROUP)) as process:
            try:
                reported = read_some(process, len(corpus.files) // 3)
                os.kill(target_of(process, kind), signal.SIGKILL)
                reported += process.communicate(timeout=120)[0].splitlines()
            finally:
                process.kill()
        settled = {p for p, (state, _) in inbox.files().items() if state in ("done", "failed")}

        again = inbox.run()
        third = inbox.run()

    names = {file.path.name for file in corpus.files}
    # Workers and their host are replaced, and the batch goes on without anybody.
    assert process.returncode == (-signal.SIGKILL if kind == "ingest" else 0)
    assert set(reported) <= settled
    assert settled.isdisjoint(again.documents)
    assert settled | set(again.documents) == names
    assert (kind != "ingest") == (settled == names)
    assert third.documents == {}
    assert_each_file_has_one_end(inbox, corpus)


def assert_each_file_has_one_end(inbox: Inbox, corpus: Corpus) -> None:
    files = inbox.files()
    assert {state for state, _ in files.values()} <= {"done", "failed"}
    wrong = [
        (file.path.name, files[file.path.name])
        for file in corpus.files
        if file.expected and files[file.path.name][1] not in file.expected
    ]
    assert wrong == []
    with psycopg.connect(inbox.url) as conn:
        # One result of each file was stored, and one only.
        assert conn.execute("SELECT max(attempts), min(attempts) FROM documents.files").fetchall()[
            0
        ] == (1, 1)
        assert conn.execute(
            "SELECT count(*), count(DISTINCT path), bool_and(is_current) FROM documents.documents"
        ).fetchall() == [(len(files), len(files), True)]
        assert conn.execute(
            "SELECT count(*) FROM documents.chunks AS c JOIN documents.texts AS t "
            "USING (document_id) WHERE c.text <> "
            "substr(t.text, c.start_offset + 1, c.end_offset - c.start_offset)"
        ).fetchall() == [(0,)]
        failed = sum(state == "failed" for state, _ in files.values())
        assert conn.execute(
            "SELECT count(*) FROM ops.dead_letters WHERE state = 'open'"
        ).fetchall() == [(failed,)]
        assert conn.execute(
            "SELECT (SELECT count(*) FROM ops.leases), (SELECT count(*) FROM ops.checkpoints), "
            "(SELECT count(*) FROM ops.loads WHERE state = 'running')"
        ).fetchall() == [(0, 0, 0)]


@pytest.mark.long
def test_ten_thousand_files_leave_the_memory_of_the_parent_as_it_was(
    postgres: str, tmp_path: Path
) -> None:
    measured = measure_growth(postgres, tmp_path / "tiny" / "files", 10_000)

    # After the first tenth; what grows by a file would be 9,000 times as much.
    assert measured["parent_memory_growth_mb"] < 16
    assert measured["parent_memory_mb"] < 512
