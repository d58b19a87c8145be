"""A PostgreSQL that is not ours: any major version from 14 on, where one is installed."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.ingest.documents.vectors import ensure_embedding_table
from batch_assets.ingest.market.daily_bars import options_of, sync_days
from batch_assets.loading.report import Ledger, RecognisedBy
from batch_assets.ops.backup import restore_backup, write_backup
from batch_assets.ops.cli.main import run
from batch_assets.ops.own_project import write_own_project
from batch_assets.postgres import migrate
from batch_assets.postgres.connect import connect
from batch_assets.settings import current_settings, load_settings
from batch_assets.sources.market.feed import FileFeed, build_feeds
from batch_assets.sources.market.files import open_feed
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


UNCHANGED = (Ledger(read=800, unchanged=800), {RecognisedBy.SOURCE_HASH})
KEPT = ["market.daily_bars", "devices.records", "ops.loads", "ops.dead_letters", "ops.windows"]


@pytest.mark.long
def test_loads_of_another_version_are_recognised_after_a_dump_to_this_one(
    installed_server: str,
    postgres_empty: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_own_project(tmp_path)
    for file in (tmp_path / "examples").rglob("*.*"):
        # A file of this second may still be written to; an older one is known by its look.
        os.utime(file, (1_700_000_000, 1_700_000_000))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    _use(installed_server, monkeypatch)
    migrate.apply_pending(installed_server)
    first, again = _load_example_days(tmp_path), _load_example_days(tmp_path)
    assert first == (Ledger(read=800, inserted=800), {None})
    assert again == UNCHANGED
    assert run(["devices", "load"]) == 0
    assert run(["db", "backup", "moved.dump"]) == 0
    stored = [_rows(installed_server, table) for table in KEPT]

    _use(postgres_empty, monkeypatch)

    assert run(["db", "restore", "moved.dump"]) == 0
    assert run(["db", "verify"]) == 0
    assert [_rows(postgres_empty, table) for table in KEPT] == stored
    assert all(stored)
    assert _load_example_days(tmp_path) == UNCHANGED
    assert run(["devices", "load"]) == 0
    assert run(["verify"]) == 0
    assert _rows(postgres_empty, "devices.records") == stored[1]


@pytest.mark.long
def test_a_restored_database_compresses_as_its_server_can(
    installed_server: str, postgres_empty: str, tmp_path: Path
) -> None:
    migrate.apply_pending(installed_server)
    write_backup(installed_server, tmp_path / "backup.dump")
    with closing(psycopg.connect(installed_server, autocommit=True)) as conn:
        conn.execute("CREATE DATABASE other")
    twin = installed_server.replace("/postgres?", "/other?")

    for url in (twin, postgres_empty):
        assert restore_backup(url, tmp_path / "backup.dump").is_current

    assert _compression(twin) == _compression(installed_server)
    # The wheel's server has pglz alone.
    assert _compression(postgres_empty) == ["", ""]


def _compression(url: str) -> list[str]:
    with closing(psycopg.connect(url)) as conn:
        return [
            row[0]
            for row in conn.execute(
                "SELECT attcompression::text FROM pg_attribute WHERE attname = 'text' "
                "AND attrelid IN ('documents.texts'::regclass, 'documents.chunks'::regclass)"
            )
        ]


def _use(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", url)
    current_settings.cache_clear()


def _rows(url: str, table: str) -> list[tuple[object, ...]]:
    with closing(psycopg.connect(url)) as conn:
        return conn.execute(f"SELECT * FROM {table} AS t ORDER BY t::text").fetchall()


def _load_example_days(folder: Path) -> tuple[Ledger, set[RecognisedBy | None]]:
    """Load two days of the examples: what became of their rows, and how they were recognised."""
    settings = load_settings()
    assert settings.database.url is not None
    feed = build_feeds(settings.section("market"), settings.config_dir)["examples"]
    assert isinstance(feed, FileFeed)
    reports = [
        report.load
        for report in sync_days(
            partial(connect, settings.database.url.get_secret_value(), application_name="test"),
            feed,
            open_feed(feed, folder),
            [date(2024, 9, 27), date(2024, 9, 30)],
            now=datetime(2024, 10, 9, tzinfo=UTC),
            options=options_of(feed, settings.loading),
        )
    ]
    total: Counter[str] = Counter()
    for report in reports:
        total.update(asdict(report.ledger))
    return Ledger(**total), {report.recognised_by for report in reports}
