"""The real files through the worker processes, poison among them: the story of one batch."""

import csv
import struct
import time
from collections import Counter
from pathlib import Path

import pytest

from batch_assets.execution.isolation import IsolatedWorkers, Task, TaskLimits, TaskOutcome
from batch_assets.sources.documents.outcome import DocumentOutcome
from batch_assets.sources.documents.parse import ParseReply, ParseRequest
from batch_assets.sources.documents.readers import worker_modules
from batch_assets_tests.sources.documents.sample_files import compound_file

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "data" / "documents"
PARSE = "batch_assets.sources.documents.parse:parse_task"
LIMITS = TaskLimits(timeout_seconds=30, memory_bytes=1024 * 1024 * 1024)


@pytest.mark.shared_data
@pytest.mark.skipif(
    not (CORPUS / "manifest.csv").exists(), reason="../shared/data/documents is not there"
)
def test_the_real_files_end_as_expected_in_worker_processes(tmp_path: Path) -> None:
    with (CORPUS / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    tasks = [
        Task(PARSE, ParseRequest(str(CORPUS / "files" / row["name"])), LIMITS, key=row)
        for row in rows
    ]

    with IsolatedWorkers(workers=2, spool_dir=tmp_path, preload=worker_modules()) as workers:
        results = list(workers.run(tasks))

    assert Counter(result.outcome for result in results) == {TaskOutcome.OK: 150}
    wrong = []
    for result in results:
        row, reply = result.task.key, result.value
        assert isinstance(row, dict)
        assert isinstance(reply, ParseReply)
        expected = {DocumentOutcome(row["expected"])} if row["expected"] != "ambiguous" else set()
        if row["expected"] == "ok" and int(row["ref_tokens"] or 0) == 0:
            expected.add(DocumentOutcome.EMPTY_TEXT)
        if expected and reply.outcome not in expected:
            wrong.append((row["name"], reply.outcome, reply.reason))
        assert reply.sha256 == row["sha256"]
    assert wrong == []


def test_a_file_that_aborts_its_reader_costs_that_file_only(tmp_path: Path) -> None:
    # calamine reserves what this sheet declares, 400 MB, and Rust aborts when it does not get it.
    dimensions = struct.pack("<HHIIHHH", 0x200, 14, 0, 65_536, 0, 256, 0)
    book = struct.pack("<HHHHHHII", 0x809, 16, 0x600, 0x10, 0, 0, 0, 0) + dimensions
    (tmp_path / "abort.xls").write_bytes(compound_file({"Workbook": _globals() + book}))
    (tmp_path / "bomb.txt").write_bytes(b"x" * 40_000_000)
    (tmp_path / "good.txt").write_text("good text")
    limits = TaskLimits(timeout_seconds=30, memory_bytes=64 * 1024 * 1024)
    names = ["abort.xls", "bomb.txt", *["good.txt"] * 10]
    tasks = [Task(PARSE, ParseRequest(str(tmp_path / name)), limits, key=name) for name in names]
    started = time.monotonic()

    with IsolatedWorkers(
        workers=1, spool_dir=tmp_path / "spool", preload=worker_modules()
    ) as workers:
        results = list(workers.run(tasks))

    assert time.monotonic() - started < 200
    by_name = {str(result.task.key): result for result in results}
    good = [result.value for result in results if result.task.key == "good.txt"]
    assert [reply.outcome for reply in good if isinstance(reply, ParseReply)] == ["ok"] * 10
    assert _end(by_name["abort.xls"].outcome, by_name["abort.xls"].value) in ("memory", "crash")
    assert _end(by_name["bomb.txt"].outcome, by_name["bomb.txt"].value) == "memory"


def _end(outcome: TaskOutcome, reply: object) -> str:
    return reply.outcome.value if isinstance(reply, ParseReply) else outcome.value


def _globals() -> bytes:
    """The first part of a workbook: one sheet, whose records follow right behind."""
    begin = struct.pack("<HHHHHHII", 0x809, 16, 0x600, 0x5, 0, 0, 0, 0)
    name = b"\x05\x00Sheet"
    sheet_size = 4 + 4 + 2 + len(name)
    position = len(begin) + sheet_size + 4
    sheet = struct.pack("<HHIBB", 0x85, 6 + len(name), position, 0, 0) + name
    return begin + sheet + struct.pack("<HH", 0x0A, 0)
