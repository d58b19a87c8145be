"""The pool that tests of tasks share."""

from collections.abc import Iterator

import pytest

from batch_assets.execution.isolation import (
    IsolatedWorkers,
)
from batch_assets_tests.execution.isolated_tasks import task


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedWorkers]:
    """One pool for all tests of tasks: what one of them does must not touch the next."""
    with IsolatedWorkers(workers=2, spool_dir=tmp_path_factory.mktemp("spool")) as pool:
        yield pool
        assert pool.submit(task("double", 21)).result(20).value == 42
