"""Files on their way through workers, several small ones at once."""

import os
import signal
from datetime import date
from pathlib import Path, PosixPath
from typing import Any

import pytest

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.spreadsheets.deliveries import (
    SMALL_FILES_TOGETHER,
    DeliveryReader,
    Submit,
    find_deliveries,
)
from batch_assets.ingest.spreadsheets.load import PRELOAD, READ_LIMITS
from batch_assets.sources.spreadsheets.preflight import Refusal
from batch_assets.sources.spreadsheets.spool import ReadRequest, hash_file
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate, build_template

DAY = date(2024, 9, 30)
WAIT_SECONDS = 60


class DeadlyPath(PosixPath):
    """Ends the process that opens it, as a parser does that a file brings down."""

    def open(self, *_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def template() -> SpreadsheetTemplate:
    columns = {"order_no": {"type": "integer"}, "customer": {}}
    return build_template("orders", {"table": "a.b", "key": "order_no", "columns": columns})


def request(path: Path, digest: str, spool: Path) -> ReadRequest:
    return ReadRequest(
        path=path, file=path.name, sha256=digest, template=template(), day=DAY, spool=spool
    )


def write_csv(path: Path, number: int) -> Path:
    path.write_text(f"order_no,customer\n{number},Ann\n", encoding="utf-8")
    return path


@pytest.mark.long
def test_file_that_ends_its_reader_fails_alone_among_those_read_with_it(tmp_path: Path) -> None:
    paths = [write_csv(tmp_path / f"{name}.csv", n) for n, name in enumerate("abc")]
    requests = [request(path, hash_file(path), tmp_path / path.stem) for path in paths]
    requests[1] = request(DeadlyPath(paths[1]), requests[1].sha256, tmp_path / "b")

    with IsolatedWorkers(workers=1, spool_dir=tmp_path / "spool", preload=PRELOAD) as workers:
        answers = Submit(workers, READ_LIMITS).together(requests)
        first, second, third = (answer.result(WAIT_SECONDS) for answer in answers)

    assert (first.error, first.read_rows, third.error, third.read_rows) == ("", 1, "", 1)
    assert second.refusal == Refusal.CORRUPT
    assert "b.csv: ended the process that read it" in second.error


@pytest.mark.long
def test_small_files_are_read_together_and_each_comes_to_its_own_window(tmp_path: Path) -> None:
    count = 3 * SMALL_FILES_TOGETHER
    paths = [write_csv(tmp_path / f"{n:03}.csv", n) for n in range(count)]
    deliveries = list(find_deliveries(template(), paths, DAY))
    with IsolatedWorkers(workers=1, spool_dir=tmp_path / "spool", preload=PRELOAD) as workers:
        submit = Submit(workers, READ_LIMITS)
        reader = DeliveryReader(template(), DAY, submit, workers.folder, {})
        found = {}
        for source in reader.sources(deliveries, [item.window.key for item in deliveries]):
            batches = list(source.read(None))
            found[source.source_file] = [n for b in batches for n in b.rows[0].to_pylist()]
        done = workers.statistics().done

    assert found == {path.name: [n] for n, path in enumerate(paths)}
    assert done == 3
