"""A landing folder, and a connection to the database that remembers its files."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres) as conn:
        yield conn
