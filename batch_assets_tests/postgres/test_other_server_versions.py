"""A PostgreSQL that is not ours: any major version from 14 on, where one is installed."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.ingest.documents.vectors import ensure_embedding_table
from batch_assets.postgres import migrate
from batch_assets_tests.postgres.conftest import wait_until

INSTALLED = sorted(
    folder
    for folder in Path("/usr/lib/postgresql").glob("*/bin")
    if re.fullmatch(r"\d+", folder.parent.name)
    and int(folder.parent.name) >= 14
    and (folder / "initdb").exists()
)
_INITDB_OPTIONS = ("-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "--auth=trust")
_SERVER_OPTIONS = ("-c", "listen_addresses=", "-c", "fsync=off")


@pytest.fixture(
    params=INSTALLED or [None],
    ids=lambda folder: folder.parent.name if folder else "none",
)
def installed_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a throw-away server made with the system's own PostgreSQL programs."""
    with running_server(request.param) as url:
        yield url


@contextmanager
def running_server(
    programs: Path | None, prepare: Callable[[Path], Sequence[str]] = lambda _: (), port: int = 5432
) -> Iterator[str]:
    """A throw-away server of the programs in a folder; skips the test where there are none.

    Args:
        programs: The folder with initdb and postgres.
        prepare: Puts files of the server into its folder; returns further options.
        port: Names the socket too, so that it matters to a server without a network.
    """
    if programs is None:
        pytest.skip("no PostgreSQL 14 or newer below /usr/lib/postgresql")
    folder = Path(tempfile.mkdtemp(prefix="batch_assets-test-"))
    run_as: dict[str, int] = {}
    options = (*_SERVER_OPTIONS, *prepare(folder))
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody")
        run_as = {"user": user.pw_uid, "group": user.pw_gid}
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)
    subprocess.run(
        [programs / "initdb", *_INITDB_OPTIONS, folder / "data"],
        check=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        **run_as,
    )
    server = subprocess.Popen(
        [programs / "postgres", "-D", folder / "data", "-k", folder, "-p", str(port), *options],
        cwd=folder,
        stderr=subprocess.DEVNULL,
        **run_as,
    )
    url = f"postgresql://postgres@/postgres?host={folder}&port={port}"
    try:
        wait_until(lambda: _answers(url), "the server answers")
        yield url
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_migrations_make_the_same_schema_on_other_versions(installed_server: str) -> None:
    migrate.apply_pending(installed_server)

    assert migrate.verify(installed_server) == []
    assert migrate.apply_pending(installed_server) == []


def test_embeddings_say_that_the_server_has_no_pgvector(installed_server: str) -> None:
    migrate.apply_pending(installed_server)
    with psycopg.connect(installed_server, autocommit=True) as conn:
        available = conn.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'")
        if available.fetchone() is not None:
            pytest.skip("this server has pgvector")
        with pytest.raises(ConfigurationError, match=r"pgvector\); install it"):
            ensure_embedding_table(conn)

    assert migrate.verify(installed_server) == []
