from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_assets_tests.defs.market_files import Market


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Caches of all tests: computing a calendar costs 3 seconds, once."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def market(postgres: str, tmp_path: Path, state_dir: Path) -> Iterator[Market]:
    """A project folder of its own with the feed `cn`, still without files."""
    made = Market(tmp_path, postgres, state_dir)
    made.add_feed("cn")
    with made.instance:
        yield made
