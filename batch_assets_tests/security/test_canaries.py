"""Secrets planted where a user keeps them, and looked for wherever anything is written."""

import json
import logging
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from batch_assets.ops.access import create_token
from batch_assets.ops.scope import Scope
from batch_assets.postgres.connect import connect
from batch_assets_tests.defs.market_files import day_text
from batch_assets_tests.fakes.alert_receivers import webhook
from batch_assets_tests.fakes.http_vendor import Answer, HttpVendorServer, Request
from batch_assets_tests.fakes.vendor_answers import tushare_refusal
from batch_assets_tests.ops.api.conftest import Api

pytestmark = pytest.mark.long

PROJECT = Path(__file__).resolve().parents[2]
DAY = "2024-09-30"
CANARIES = {
    "password of a server that is down": "canary-database-3f9a1c7e",
    "vendor token": "canaryvendor5b2d8e4f",
    "webhook": "canary-webhook-9c4e7a1d",
    "mail password": "canary-mail-2a6f8b3c",
}
CONFIGURATION = """
[market]
default_feed = "files"

[market.feeds.files]
folder = "files"
layout = "by_day"
files = "{{date}}.csv"
calendar = "XSHG"
symbol = {{ style = "cn" }}
reject_limit_ratio = 0.5

[market.feeds.vendor]
vendor = "tushare"
base_url = "{vendor}"
token_env = "VENDOR_TOKEN"
attempts = 2
first_wait_seconds = 0.01

[alerts.channels.hook]
kind = "webhook"
url_env = "HOOK_URL"

[alerts.channels.nobody]
kind = "webhook"
url_env = "DEAD_HOOK_URL"

[alerts.channels.mail]
kind = "email"
host = "127.0.0.1"
port = 1
security = "none"
sender = "a@example.com"
recipients = ["b@example.com"]
username = "ann"
password_env = "MAIL_PASSWORD"
"""


class Project:
    """A user's folder, the secrets in its environment, and all that its commands said."""

    def __init__(self, folder: Path, url: str, vendor: str, hook: str) -> None:
        self.folder = folder
        self.said: dict[str, str] = {}
        (folder / "files").mkdir()
        text = day_text(DAY, 5, bad=1)
        (folder / "files" / f"{DAY}.csv").write_text(text, encoding="utf-8")
        text = CONFIGURATION.format(vendor=vendor)
        (folder / "batch_assets.toml").write_text(text, encoding="utf-8")
        (folder / "dagster.yaml").write_bytes((PROJECT / "dagster.yaml").read_bytes())
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROJECT),
            "BATCH_ASSETS_DATABASE_URL": url,
            "VENDOR_TOKEN": CANARIES["vendor token"],
            "HOOK_URL": f"{hook}/{CANARIES['webhook']}",
            "DEAD_HOOK_URL": f"http://127.0.0.1:1/{CANARIES['webhook']}",
            "MAIL_PASSWORD": CANARIES["mail password"],
        }

    def run(self, *command: str, url: str | None = None) -> "subprocess.CompletedProcess[str]":
        environment = dict(self.environment)
        if url is not None:
            environment["BATCH_ASSETS_DATABASE_URL"] = url
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.said[f"{len(self.said)} {' '.join(command)}"] = done.stdout + done.stderr
        return done

    def batch_assets(
        self, *arguments: str, url: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return self.run("batch_assets.ops.cli.main", *arguments, url=url)

    def sync(
        self, job: str = "market_sync", url: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        tags = json.dumps({"dagster/partition": DAY})
        return self.run(
            *("dagster", "job", "execute", "-m", "batch_assets.definitions"),
            *("-j", job, "--tags", tags),
            url=url,
        )


def _echo(request: Request) -> Answer:
    """A vendor that repeats the token in its refusal, as one that means to help may."""
    return tushare_refusal(40101, f"token {json.loads(request.body)['token']} is unknown")


@pytest.fixture
def project(postgres: str, tmp_path: Path) -> Iterator[Project]:
    with HttpVendorServer(_echo) as vendor, webhook() as hook:
        # Status 200 is a success: the test message; then refusals.
        hook.answers = [(503, f"no {CANARIES['webhook']}")]
        folder = tmp_path / "project"
        folder.mkdir()
        yield Project(folder, postgres, vendor.base_url, hook.url)


def test_no_secret_is_in_anything_that_is_written(
    project: Project, postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    unreachable = (
        f"postgresql://ann:{CANARIES['password of a server that is down']}@127.0.0.1:1/nothing"
    )

    loaded = project.sync()
    refused = project.sync("market_sync_vendor")
    statuses = [
        project.sync(url=unreachable).returncode,
        project.batch_assets("-v", "doctor").returncode,
        project.batch_assets("-v", "doctor", url=unreachable).returncode,
        project.batch_assets("-v", "alerts", "test").returncode,
        project.batch_assets("dead-letters", "export", "letters.xlsx").returncode,
        project.batch_assets("-v", "dead-letters", "list", "--json").returncode,
    ]
    # One row of six is rejected, which is above the budget: loaded, and the run says so.
    assert "error_rate_within_budget" in loaded.stderr, loaded.stderr[-4000:]
    assert "answers code 40101, 'token *** is unknown'" in refused.stderr, refused.stderr[-4000:]
    assert statuses == [1, 0, 7, 1, 0, 1], project.said
    assert (project.folder / "letters.xlsx").exists()
    token = _ask_the_api(project, postgres)
    canaries = {**CANARIES, "API token": token}
    # The server of the tests has a password of its own; one that trusts everybody has none.
    if password := conninfo_to_dict(postgres).get("password"):
        canaries["password of the server"] = str(password)

    found = [
        f"{name} in {place}"
        for place, content in _all_written(project, postgres, caplog.text)
        for name, canary in canaries.items()
        if canary.encode() in content
    ]

    assert found == []


def test_the_search_finds_what_is_there(
    project: Project, postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    with zipfile.ZipFile(project.folder / "book.xlsx", "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/sharedStrings.xml", "canary-in-a-book")
    with closing(psycopg.connect(postgres, autocommit=True)) as conn:
        conn.execute(
            "INSERT INTO ops.audit (actor, action, subject, detail)"
            """ VALUES ('a', 'b', 'c', '{"x": "canary-in-a-row"}')"""
        )
    logging.getLogger("batch_assets").warning("canary-in-the-log")

    content = b"".join(text for _, text in _all_written(project, postgres, caplog.text))

    for canary in (b"canary-in-a-book", b"canary-in-a-row", b"canary-in-the-log"):
        assert canary in content


def _ask_the_api(project: Project, url: str) -> str:
    """Ask for what there is, wrongly and rightly; returns the token that was used."""
    with closing(connect(url, application_name="test")) as conn:
        token = create_token(conn, "canary", Scope.LAUNCH)
        conn.commit()
    api = Api(project.environment["BATCH_ASSETS_DATABASE_URL"], project.folder)
    text = (project.folder / "batch_assets.toml").read_text(encoding="utf-8")
    app = api.build(text, _of_channels(project.environment))
    headers = {"Authorization": f"Bearer {token}"}
    with api.client(app) as client:
        csrf = client.get("/signin").text.partition('name="csrf" value="')[2].partition('"')[0]
        signed_in = client.post("/signin", data={"token": token, "csrf": csrf})
        assert signed_in.status_code == 303
        answers = [client.get("/")]
        assert answers[0].status_code == 200
        answers += [
            client.get("/metrics", headers=headers),
            client.get("/api/v1/nothing", headers=headers),
            client.get("/api/v1/sync-status/sync/batch/progress/x", headers=headers),
            client.post("/api/v1/sync-status/sync/batch", headers=headers, json={"a": token[:4]}),
            client.post("/start_etl", headers=headers),
            client.get("/readyz"),
        ]
    project.said["the API"] = "\n".join(f"{answer.status_code} {answer.text}" for answer in answers)
    return token


def _of_channels(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name not in ("PATH", "PYTHONPATH")
    }


def _all_written(project: Project, url: str, log: str) -> Iterator[tuple[str, bytes]]:
    """Every place: what was said and logged, each file (workbooks unpacked), each row."""
    yield "the log", log.encode()
    for command, text in project.said.items():
        yield command, text.encode()
    for path in sorted(project.folder.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as book:
                yield from ((f"{path}!{name}", book.read(name)) for name in book.namelist())
    with closing(psycopg.connect(url)) as conn:
        tables = conn.execute(
            "SELECT n.nspname, c.relname FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema)'"
        ).fetchall()
        for schema, table in tables:
            rows = conn.execute(
                sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, table))
            )
            yield f"{schema}.{table}", "\n".join(row[0] for row in rows).encode()
