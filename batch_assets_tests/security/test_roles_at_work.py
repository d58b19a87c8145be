"""`db roles`: made without a superuser, and the work of every domain done under them."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import openpyxl
import psycopg
import pytest
from psycopg import sql

from batch_assets.definitions import build_definitions
from batch_assets.defs.operations.tracked_assets import tracked_assets
from batch_assets.ops.access import create_token
from batch_assets.ops.cli.main import run
from batch_assets.ops.scope import Scope
from batch_assets.postgres import migrate
from batch_assets.runs.backfill_adoption import CodeLocation, adopt_backfills
from batch_assets.runs.backfill_driver import drive_backfills
from batch_assets.settings import current_settings, load_settings
from batch_assets_tests.conftest import PostgresServer, database_name
from batch_assets_tests.ingest.devices.landing import body_of
from batch_assets_tests.ops.api.conftest import Api
from batch_assets_tests.runs.launched_in_dagster import end_in_dagster, launch_in_dagster

pytestmark = pytest.mark.long

PROJECT = Path(__file__).resolve().parents[2]
DAY = "2024-09-30"
ROLES = ("owner", "loader", "reader", "api")
OLD_SECONDS = 1_727_700_000
CONFIGURATION = """
[documents.sources.inbox]
url = "inbox"
day = "folder"
settle_seconds = 0

[spreadsheets.templates.orders]
files = "orders*.xlsx"
table = "sales.orders"
key = ["order_no"]
reject_limit_ratio = 0.9

[spreadsheets.templates.orders.columns]
order_no = { header = "Order no", type = "integer", required = true }

[tables.transfers.copies]
table = "sales.orders"
target = "copies.orders"
key = ["order_no"]
columns = ["order_no"]
"""


class Site:
    """A project, its database, which belongs to a role that is no superuser, and four others."""

    def __init__(self, folder: Path, administrator: str, prefix: str) -> None:
        self.folder = folder
        self.administrator = administrator
        self.prefix = prefix
        self.passwords = {role: secrets.token_urlsafe(12) for role in ROLES}

    def of(self, role: str) -> str:
        head, _, rest = self.administrator.partition("@")
        return f"{head.split('//')[0]}//{self.prefix}_{role}:{self.passwords[role]}@{rest}"

    def environment(self, url: str) -> dict[str, str]:
        return {
            "BATCH_ASSETS_DATABASE_URL": url,
            "BATCH_ASSETS_HOME": str(self.folder / "state"),
            "BATCH_ASSETS_CONFIG": str(self.folder / "batch_assets.toml"),
        }


@pytest.fixture(scope="module")
def site(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Roles as the command makes them, on a service that gives nobody a superuser."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "examples", folder / "examples")
    shipped = (PROJECT / "batch_assets.toml").read_text(encoding="utf-8")
    shipped = shipped.replace("[execution]\n", "[execution]\ncpu_workers = 1\nspare_workers = 0\n")
    (folder / "batch_assets.toml").write_text(shipped + CONFIGURATION, encoding="utf-8")
    shutil.copy(PROJECT / "dagster.yaml", folder)
    tag = secrets.token_hex(4)
    url, admin, password = postgres_server.create_database(), f"admin_{tag}", f"secret-{tag}"
    with psycopg.connect(url, autocommit=True) as conn:
        name = sql.Identifier(admin)
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(name, password))
        database = sql.Identifier(database_name(url))
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, name))
    head, _, rest = url.partition("@")
    made = Site(folder, f"{head.split('//')[0]}//{admin}:{password}@{rest}", f"work_{tag}")
    migrate.apply_pending(made.administrator)
    yield made
    postgres_server.drop_database(url)
    with psycopg.connect(postgres_server.url, autocommit=True) as conn:
        for role in (*(f"{made.prefix}_{role}" for role in ROLES), admin):
            conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture
def roles(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Site:
    """The command, given again before each test: it changes nothing."""
    for role in ROLES:
        file = site.folder / f"{role}.password"
        file.write_text(site.passwords[role], encoding="ascii")
        monkeypatch.setenv(f"BATCH_ASSETS_{role.upper()}_PASSWORD_FILE", str(file))
    sign_in(site, site.administrator, monkeypatch)
    command = ["db", "roles", "--prefix", site.prefix, "--schema", "sales", "--schema", "copies"]
    assert run(command) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert not any(password in said.out + said.err for password in site.passwords.values())
    return site


def sign_in(site: Site, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in site.environment(url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(site.folder)
    current_settings.cache_clear()


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg.connect(url)) as conn:
        return conn.execute(statement.encode()).fetchall()


def write_orders(path: Path, *numbers: object) -> Path:
    book = openpyxl.Workbook()
    for row in (["Order no"], *([number] for number in numbers)):
        book.active.append(row)
    book.save(path)
    return path


def test_a_dry_run_prints_what_would_be_done_and_no_password(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_in(site, site.administrator, monkeypatch)
    monkeypatch.setenv("BATCH_ASSETS_API_PASSWORD", "a-canary-of-a-password")

    assert run(["db", "roles", "--prefix", "other", "--schema", 'a"; DROP', "--dry-run"]) == 0

    said = capsys.readouterr().out
    assert 'CREATE SCHEMA IF NOT EXISTS "a""; DROP";' in said
    assert "ALTER ROLE other_api PASSWORD (of the environment)" in said
    assert "batch_assets_" not in said.split("*/")[-1].replace("BATCH_ASSETS", "")
    assert "canary" not in said
    assert ask(site.administrator, "SELECT FROM pg_roles WHERE rolname = 'other_api'") == []


@pytest.mark.parametrize("prefix", ["", "Capital", "a-b", 'a"; DROP ROLE x; --', "x" * 60])
def test_a_prefix_that_is_no_name_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    sign_in(site, site.administrator, monkeypatch)

    assert run(["db", "roles", "--prefix", prefix, "--dry-run"]) == 7


def test_who_may_not_make_roles_is_told_what_is_missing(
    roles: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_in(roles, roles.of("loader"), monkeypatch)

    assert run(["db", "roles", "--prefix", roles.prefix]) == 7

    said = " ".join(capsys.readouterr().err.split())
    assert "- CREATEROLE" in said
    assert "- ownership of database" in said


def test_passwords_are_kept_as_verifiers_and_open_the_door(
    roles: Site, postgres_server: PostgresServer
) -> None:
    [(kept,)] = ask(
        postgres_server.url,
        f"SELECT rolpassword FROM pg_authid WHERE rolname = '{roles.prefix}_reader'",
    )

    assert kept.startswith("SCRAM-SHA-256$")
    assert ask(roles.of("reader"), "SELECT current_user") == [(f"{roles.prefix}_reader",)]


def test_the_loader_does_the_work_of_every_domain(
    roles: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_in(roles, roles.of("loader"), monkeypatch)
    text = roles.folder / "inbox" / DAY / "a.txt"
    text.parent.mkdir(parents=True)
    text.write_text("A text about roles.", encoding="utf-8")
    os.utime(text, (OLD_SECONDS, OLD_SECONDS))
    write_orders(roles.folder / "orders.xlsx", 1, 2, "three")

    # Dagster's tables are made by the loader as well.
    with dg.DagsterInstance.from_config(str(roles.folder)) as instance:
        settings = load_settings(dict(os.environ), working_dir=roles.folder)
        market = build_definitions(settings).resolve_job_def("market_sync")
        assert market.execute_in_process(instance=instance, partition_key=DAY).success
    statuses = {
        name: run(command)
        for name, command in {
            "documents": ["documents", "ingest"],
            "spreadsheets": ["spreadsheets", "load", "orders.xlsx", "--day", DAY],
            "tables": ["tables", "run", "copies"],
            "devices": ["devices", "load"],
            "prune": ["prune"],
            "verify": ["verify"],
            "doctor": ["doctor"],
        }.items()
    }

    assert statuses == dict.fromkeys(statuses, 0), capsys.readouterr().err
    counts = ask(
        roles.of("reader"),
        "SELECT (SELECT count(*) > 0 FROM market.daily_bars), (SELECT count(*) > 0 FROM"
        " documents.chunks), (SELECT count(*)::int FROM sales.orders), (SELECT count(*)::int FROM"
        " copies.orders), (SELECT count(*) > 0 FROM devices.records), (SELECT count(*)::int FROM"
        " ops.masked_dead_letters WHERE target = 'sales.orders')",
    )
    assert counts == [(True, True, 2, 2, True, 1)]


def test_rows_as_they_came_are_for_the_loader_alone(roles: Site) -> None:
    assert ask(roles.of("loader"), "SELECT original FROM ops.dead_letters LIMIT 0") == []
    for role in ("reader", "api"):
        for column in ("original", "layout", "corrected", "*"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                ask(roles.of(role), f"SELECT {column} FROM ops.dead_letters LIMIT 0")
        assert ask(roles.of(role), "SELECT original FROM ops.masked_dead_letters LIMIT 0") == []


def test_the_api_answers_every_question_and_does_what_it_is_asked(roles: Site) -> None:
    with closing(psycopg.connect(roles.of("owner"), autocommit=True)) as conn:
        token = create_token(conn, "ann", Scope.LAUNCH)
    api = Api(roles.of("api"), roles.folder)
    app = api.build((roles.folder / "batch_assets.toml").read_text(encoding="utf-8"))
    sync, backfills = "/api/v1/sync-status/sync/batch", "/api/v1/backfills"
    with api.client(app) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        csrf = client.get("/signin").text.partition('name="csrf" value="')[2].partition('"')[0]
        done = [
            client.post("/api/devices/records", json=body_of("SN1", 1, 60)),
            client.post("/api/v1/documents", files=[("file", ("b.txt", b"Another text."))]),
            client.post(sync, json={"start_date": "2024-09-25", "end_date": "2024-09-27"}),
            client.post(f"{backfills}/1/pause"),
            client.post(f"{backfills}/1/resume"),
            client.post(f"{backfills}/1/cancel"),
            client.post("/api/v1/feeds/examples/pause"),
            client.post("/api/v1/feeds/examples/resume"),
            client.post("/signin", data={"token": token, "csrf": csrf}),
        ]
        asked = [
            client.get(path, follow_redirects=True)
            for path, item in app.openapi()["paths"].items()
            if "get" in item and "{" not in path
        ]

    assert len(asked) > 10
    wrong = [f"{a.request.method} {a.url.path}: {a.status_code} {a.text[:200]}" for a in done
             if a.status_code >= 400]  # fmt: skip
    # A question may lack a parameter, and health is asked of a busy machine.
    wrong += [f"{a.url.path}: {a.text[:200]}" for a in asked if a.status_code in (401, 403, 500)]
    assert wrong == []
    assert ask(roles.of("reader"), "SELECT count(*)::int FROM devices.inbox") == [(1,)]
    assert ("ann",) in ask(roles.of("reader"), "SELECT DISTINCT actor FROM ops.audit")


def test_the_loader_follows_what_dagsters_pages_launch(
    roles: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(roles, roles.of("loader"), monkeypatch)
    settings = load_settings(dict(os.environ), working_dir=roles.folder)
    repository = build_definitions(settings).get_repository_def()
    now = datetime.now(UTC)

    def connect() -> psycopg.Connection:
        return psycopg.connect(roles.of("loader"))

    with dg.DagsterInstance.from_config(str(roles.folder)) as instance:
        asset = "market/examples/daily_bars"
        launch_in_dagster(instance, repository, "theirs", [DAY], asset, launched_at=now)
        location, tracked = CodeLocation(repository), tracked_assets(settings)
        (adopted,) = adopt_backfills(instance, location, tracked, connect, now=now)
        end_in_dagster(instance, "theirs", "CANCELED", now)
        drive_backfills(instance, repository.asset_graph, connect, now=now)

    number = adopted.backfill_id
    seen = f"SELECT state, adopted_from FROM ops.backfills WHERE backfill_id = {number}"
    assert ask(roles.of("reader"), seen) == [("canceled", "theirs")]


def test_limits_are_those_of_the_role(roles: Site) -> None:
    def limits_of(role: str) -> tuple[Any, ...]:
        [found] = ask(
            roles.of(role),
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
            " current_setting('idle_in_transaction_session_timeout'),"
            " current_setting('search_path')",
        )
        return found

    assert {role: limits_of(role) for role in ROLES} == {
        "owner": ("0", "10s", "10min", "pg_catalog"),
        "loader": ("1h", "30s", "10min", "pg_catalog"),
        "reader": ("5min", "5s", "1min", "pg_catalog"),
        "api": ("1min", "5s", "1min", "pg_catalog"),
    }
