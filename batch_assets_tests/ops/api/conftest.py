import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.ingest import PRELOAD
from batch_assets.ops.access import create_token
from batch_assets.ops.api.app import build_app
from batch_assets.ops.api.slow_clients import Patience, bounded_protocol
from batch_assets.ops.scope import Scope
from batch_assets.postgres.connect import connect
from batch_assets.settings import load_settings
from batch_assets_tests.ops.api.uploads import CONFIGURATION, Uploads
from batch_assets_tests.polling import wait_until


class Api:
    """The application on a database of its own, served on loopback."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def build(self, configuration: str = "", environ: dict[str, str] | None = None) -> FastAPI:
        """The application under a configuration, and what else the environment holds."""
        (self.folder / "batch_assets.toml").write_text(configuration, encoding="utf-8")
        given = {"BATCH_ASSETS_DATABASE_URL": self.url, **(environ or {})}
        return build_app(load_settings(given, working_dir=self.folder), self.url)

    @contextmanager
    def client(self, app: FastAPI | None = None) -> Iterator[httpx.Client]:
        """A client of the application, over a real connection."""
        config = uvicorn.Config(
            app or self.build(),
            port=0,
            log_config=None,
            http=bounded_protocol(Patience()),
            ws="websockets-sansio",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive(), "the API to listen")
            [listening] = server.servers[0].sockets
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()

    def headers(self, scope: Scope = Scope.READ, name: str = "tester") -> dict[str, str]:
        """The header of a fresh token."""
        with connect(self.url, application_name="test") as conn:
            sent = create_token(conn, f"{name} {scope}", scope)
        return {"Authorization": f"Bearer {sent}"}


@pytest.fixture
def api(postgres: str, tmp_path: Path) -> Api:
    return Api(postgres, tmp_path)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedWorkers]:
    spool = tmp_path_factory.mktemp("spool")
    with IsolatedWorkers(workers=1, spool_dir=spool, preload=PRELOAD) as pool:
        yield pool


@pytest.fixture
def uploads(api: Api, workers: IsolatedWorkers) -> Uploads:
    return Uploads(api, workers, CONFIGURATION)
