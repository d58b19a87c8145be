import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from batch_assets.ops.access import create_token
from batch_assets.ops.api.app import build_app
from batch_assets.ops.scope import Scope
from batch_assets.postgres.connect import connect
from batch_assets.settings import load_settings
from batch_assets_tests.ops.api.conftest import Api
from batch_assets_tests.ops.web.scene import CONFIGURATION, NOW

CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass
class Site:
    """The pages on a database of their own, at the moment of the scene."""

    api: Api

    @property
    def url(self) -> str:
        return self.api.url

    def app(self, configuration: str = CONFIGURATION) -> object:
        (self.api.folder / "batch_assets.toml").write_text(configuration, encoding="utf-8")
        environ = {"BATCH_ASSETS_DATABASE_URL": self.url, "LANG": "C.UTF-8"}
        settings = load_settings(environ, working_dir=self.api.folder)
        return build_app(settings, self.url, now=lambda: NOW)

    def token(self, scope: Scope = Scope.LAUNCH, name: str = "mei") -> str:
        with connect(self.url, application_name="test") as conn:
            return create_token(conn, f"{name} {scope}", scope)

    def sign_in(self, client: httpx.Client, scope: Scope = Scope.LAUNCH) -> None:
        form = client.get("/signin").text
        answer = client.post("/signin", data={"token": self.token(scope), "csrf": csrf_of(form)})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with connect(self.url, application_name="test") as conn:
            return conn.execute(query).fetchall()  # type: ignore[arg-type]


def csrf_of(page: str) -> str:
    found = CSRF.search(page)
    assert found, page
    return found[1]


@pytest.fixture
def site(postgres: str, tmp_path: Path) -> Site:
    return Site(Api(postgres, tmp_path))


@pytest.fixture
def plant(site: Site) -> Callable[[], None]:
    def planted() -> None:
        from batch_assets_tests.ops.web.scene import plant_busy_morning

        plant_busy_morning(site.url)

    return planted
