from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest

from batch_assets.postgres.connect import connect
from batch_assets.settings import Settings, load_settings


class System:
    """A database and a configuration of a test's own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.connect: Callable[[], psycopg.Connection] = partial(
            connect, url, application_name="test"
        )

    def settings(self, text: str = "", **environ: str) -> Settings:
        (self.folder / "batch_assets.toml").write_text(text, encoding="utf-8")
        given = {"BATCH_ASSETS_DATABASE_URL": self.url, **environ}
        return load_settings(given, working_dir=self.folder)

    def execute(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        with self.connect() as conn:
            cursor = conn.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def system(postgres: str, tmp_path: Path) -> System:
    return System(postgres, tmp_path)
