"""A database of every earlier state, with rows in it, becomes one of today and goes on loading.

The rows are real ones: a database of today is loaded, and what an earlier state has tables and
columns for is copied into it before it is migrated.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from batch_assets.ingest.market.daily_bars import DayReport, options_of, sync_days
from batch_assets.loading.report import LoadState, RecognisedBy
from batch_assets.ops.cli.main import run
from batch_assets.ops.own_project import write_own_project
from batch_assets.postgres import migrate
from batch_assets.postgres.connect import connect
from batch_assets.postgres.sql_files import migration_files
from batch_assets.settings import LoadingSettings, current_settings, load_settings
from batch_assets.sources.market.feed import FileFeed, build_feeds
from batch_assets.sources.market.files import open_feed
from batch_assets_tests.conftest import PostgresServer

pytestmark = pytest.mark.long

HEAD = migration_files()[-1].version
# The first that can be loaded into, those before a table that may have rows is altered, and the
# last before today's. All of them pass as well; they take three minutes.
STATES = (2, 4, 13, 15, 19, 23, HEAD - 1)
# From that state on these hold rows.
ROWS_SINCE = {
    ("market", "daily_bars"): 2,
    ("ops", "loads"): 2,
    ("ops", "dead_letters"): 2,
    ("ops", "api_tokens"): 9,
    ("documents", "chunks"): 10,
    ("devices", "records"): 15,
}
DAY, NEXT_DAY = date(2024, 9, 27), date(2024, 9, 30)
NOW = datetime(2024, 12, 1, tzinfo=UTC)
# Bookkeeping of the migrator, and rows that migrations make themselves.
OWN = {("ops", "schema_migrations")}

Table = tuple[str, str]
Rows = list[tuple[object, ...]]


def the_feed(project: Path) -> FileFeed:
    settings = load_settings({}, working_dir=project)
    feed = build_feeds(settings.section("market"), settings.config_dir)["examples"]
    assert isinstance(feed, FileFeed)
    return feed


def load_day(url: str, project: Path, day: date) -> DayReport:
    feed = the_feed(project)
    (report,) = sync_days(
        partial(connect, url, application_name="test"),
        feed,
        open_feed(feed, project / ".cache"),
        [day],
        now=NOW,
        options=options_of(feed, LoadingSettings()),
    )
    return report


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_own_project(folder)
    day_file = next((folder / "examples").rglob(f"{DAY}.csv"))
    header, first, *others = day_file.read_text("utf-8").splitlines()
    cells = first.split(",")
    cells[header.split(",").index("收盘价")] = "not a number"
    day_file.write_text("\n".join([header, ",".join(cells), *others]) + "\n", "utf-8")
    with (folder / "batch_assets.toml").open("a", encoding="utf-8") as stream:
        stream.write("\n[documents.sources.inbox]\nurl = 'landing'\nsettle_seconds = 0\n")
    # Files that have just been written may still grow, and are left for later.
    for file in (folder / "examples" / "devices").iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))
    (folder / "landing").mkdir()
    (folder / "landing" / "report.txt").write_text("The net income has risen.")
    return folder


@pytest.fixture(scope="module")
def loaded(
    postgres_server: PostgresServer, _migrated_template: str, project: Path
) -> Iterator[str]:
    """A database of today with bars, a dead letter, documents and records of devices."""
    url = postgres_server.create_database(_migrated_template)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setenv("BATCH_ASSETS_DATABASE_URL", url)
        patch.setenv("BATCH_ASSETS_HOME", str(project / "state"))
        patch.delenv("BATCH_ASSETS_CONFIG", raising=False)
        current_settings.cache_clear()
        report = load_day(url, project, DAY)
        assert report.load.ledger.rejected == 1
        assert run(["documents", "ingest"]) == 0
        assert run(["devices", "load"]) == 0
        assert run(["tokens", "create", "ann"]) == 0
        current_settings.cache_clear()
    yield url
    postgres_server.drop_database(url)


def columns_of(conn: psycopg.Connection) -> dict[Table, list[str]]:
    """Tables that hold rows themselves, with the columns that can be written."""
    found: dict[Table, list[str]] = {}
    for schema, table, column in conn.execute(
        """
        SELECT n.nspname, c.relname, a.attname
          FROM pg_class AS c
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE n.nspname IN ('ops', 'market', 'documents', 'devices')
           AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attgenerated = ''
         ORDER BY 1, 2, a.attname
        """
    ):
        found.setdefault((schema, table), []).append(column)
    return {table: names for table, names in found.items() if table not in OWN}


def rows_of(conn: psycopg.Connection, table: Table, columns: list[str]) -> Rows:
    statement = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns),
        sql.Identifier(*table),
        sql.SQL(", ").join(sql.SQL(str(place + 1)) for place in range(len(columns))),
    )
    return conn.execute(statement).fetchall()


def plant(source: psycopg.Connection, target: psycopg.Connection) -> dict[Table, list[str]]:
    """Copy what the older state has room for; returns its tables that have rows now."""
    newest = columns_of(source)
    planted = {}
    target.execute("SET session_replication_role = replica")
    for table, columns in columns_of(target).items():
        common = [name for name in columns if name in newest.get(table, ())]
        names = sql.SQL(", ").join(map(sql.Identifier, common))
        target.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.Identifier(*table)))
        out = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(names, sql.Identifier(*table))
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(*table), names)
        with source.cursor().copy(out) as reading, target.cursor().copy(into) as writing:
            for block in reading:
                writing.write(block)
        if rows_of(target, table, common):
            planted[table] = common
    target.execute("SET session_replication_role = origin")
    _set_sequences(target)
    target.commit()
    return planted


def _set_sequences(conn: psycopg.Connection) -> None:
    """Let identities go on after the copied rows, as they would where the rows were made."""
    for schema, table, column in conn.execute(
        "SELECT table_schema, table_name, column_name FROM information_schema.columns "
        "WHERE is_identity = 'YES' AND table_schema IN ('ops', 'market', 'documents', 'devices')"
    ).fetchall():
        conn.execute(
            sql.SQL(
                "SELECT setval(pg_get_serial_sequence({}, {}), (SELECT max({}) FROM {}) + 1)"
            ).format(
                f"{schema}.{table}", column, sql.Identifier(column), sql.Identifier(schema, table)
            )
        )


@pytest.mark.parametrize("version", sorted(set(STATES)))
def test_every_earlier_state_is_upgraded_with_its_rows(
    version: int, loaded: str, project: Path, postgres_empty: str
) -> None:
    migrate.apply_pending(postgres_empty, files=migration_files()[:version])
    with closing(psycopg.connect(loaded)) as source, psycopg.connect(postgres_empty) as conn:
        planted = plant(source, conn)
        before = {table: rows_of(conn, table, names) for table, names in planted.items()}
        checksums = conn.execute("SELECT version, checksum FROM ops.schema_migrations").fetchall()

    applied = migrate.apply_pending(postgres_empty)

    assert [migration.version for migration in applied] == list(range(version + 1, HEAD + 1))
    assert migrate.verify(postgres_empty) == []
    with psycopg.connect(postgres_empty) as conn:
        after = {table: rows_of(conn, table, names) for table, names in planted.items()}
        kept = conn.execute(
            "SELECT version, checksum FROM ops.schema_migrations WHERE version <= %s", [version]
        ).fetchall()
    assert sorted(kept) == sorted(checksums)
    assert {table for table, since in ROWS_SINCE.items() if since <= version} <= set(before)
    assert {table: rows for table, rows in after.items() if rows != before[table]} == {}

    again = load_day(postgres_empty, project, DAY)
    new = load_day(postgres_empty, project, NEXT_DAY)

    assert again.load.recognised_by is RecognisedBy.SOURCE_HASH
    assert (again.load.ledger.inserted, again.load.ledger.updated) == (0, 0)
    assert again.load.ledger.unchanged > 0
    assert new.load.state is LoadState.SUCCESS
    assert new.load.ledger.inserted > 0
