"""A landing folder with the workers that read its files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_assets.execution import failpoints
from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.ingest import (
    PRELOAD,
)
from batch_assets_tests.ingest.documents.inbox import Inbox


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedWorkers]:
    spool = tmp_path_factory.mktemp("spool")
    with IsolatedWorkers(workers=2, spool_dir=spool, preload=PRELOAD) as pool:
        yield pool


@pytest.fixture
def inbox(postgres: str, tmp_path: Path, workers: IsolatedWorkers) -> Iterator[Inbox]:
    root = tmp_path / "landing"
    root.mkdir()
    yield Inbox(postgres, root, workers)
    failpoints.arm("")
