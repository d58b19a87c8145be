from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_assets_tests.defs.documents.landing import Landing


@pytest.fixture
def landing(postgres: str, tmp_path: Path) -> Iterator[Landing]:
    made = Landing(tmp_path, postgres)
    with made.instance:
        yield made
