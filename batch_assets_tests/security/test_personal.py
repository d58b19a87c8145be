"""Columns marked as personal: masked wherever rejected rows are shown, which can yet be mended."""

import json
import logging
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import openpyxl
import psycopg
import pytest
from psycopg import sql

from batch_assets.contracts.batch import RejectedRow, SourceCell, Violation
from batch_assets.contracts.personal import MASK, masked_row
from batch_assets.definitions import build_definitions
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.ops.cli.main import run
from batch_assets.settings import current_settings, load_settings
from batch_assets_tests.ingest.spreadsheets.loop import edit
from batch_assets_tests.ops.api.conftest import Api

DAY = "2024-09-30"
CONFIGURATION = """
[execution]
cpu_workers = 1
spare_workers = 0

[spreadsheets]
landing = "landing"

[spreadsheets.templates.people]
files = "people*.xlsx"
table = "sales.people"
key = "phone"
reject_limit_ratio = 1.0

[spreadsheets.templates.people.columns]
phone = { header = "Phone", pattern = '\\d{11}', required = true, personal = true }
name = { header = "Name", personal = true }
amount = { header = "Amount", type = "decimal(12,2)" }

[tables.transfers.patients]
table = "public.patients"
target = "copies.patients"
key = "mobile"
mode = "incremental"
incremental_column = "id"
reject_limit_ratio = 1.0
personal = ["mobile", "born"]

[devices]
landing = "records"
settle_seconds = 0
shards = 2
personal = ["device_sn", "heart_rate_bpm"]
"""
CANARIES = ("13800canary", "Canary Ann", "13811112222", "Canary Bob", "13833canary",
            "1901canary", "CANARY-SN-7", "canary-beats")  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> Iterator[Path]:
    folder = tmp_path / "project"
    folder.mkdir()
    text = CONFIGURATION.replace('key = "phone"', 'key = ["phone"]')
    text = text.replace('key = "mobile"', 'key = ["mobile"]')
    (folder / "batch_assets.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(folder / "state"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    current_settings.cache_clear()
    yield folder
    current_settings.cache_clear()


def write_people(path: Path, *rows: list[Any]) -> Path:
    book = openpyxl.Workbook()
    for row in (["Phone", "Name", "Amount"], *rows):
        book.active.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    os.utime(path, (1_727_700_000, 1_727_700_000))
    return path


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        cursor = conn.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_a_value_is_masked_where_a_rule_quotes_it_and_others_stay() -> None:
    row = RejectedRow(
        file="a.xlsx",
        row=2,
        violations=(
            Violation("pattern_mismatch", "phone", "138", "11 digits"),
            Violation("unparsable_number", "amount", "ten", "a number"),
            Violation("conflicting_duplicate_key", "no", "phone=138, no=1", "one row"),
            Violation("refused_by_table", "people_check", "Ann is too old", "a row"),
        ),
        original={"Phone": "138", "Amount": "ten", "body": '{"phone": "138"}', "Fax": None},
        layout=(SourceCell("Phone", "number", "phone", "138.0", 0),),
    )

    shown = masked_row(row, {"phone", "Fax"}, ("phone", "amount", "no"))

    assert [item.observed for item in shown.violations] == [MASK, "ten", MASK, MASK]
    assert shown.original == {"Phone": MASK, "Amount": "ten", "body": MASK, "Fax": None}
    assert shown.layout[0].raw is None
    assert masked_row(row, (), ("phone",)) is row


@pytest.mark.long
def test_no_personal_value_is_in_anything_that_is_shown(
    project: Path,
    postgres: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = {
        "Dagster": _load_spreadsheets(project, postgres),
        "transfers": _run_transfers(postgres),
        "devices": _load_devices(project),
    }
    statuses = [
        run(["-v", "dead-letters", "list", "--json", "--state", "all"]),
        run(["dead-letters", "list"]),
        run(["dead-letters", "export", "open.json"]),
        run(["dead-letters", "export", "open.csv"]),
        run(["dead-letters", "export", "open.xlsx"]),
        run(["spreadsheets", "check", f"landing/{DAY}/people.xlsx"]),
        run(["spreadsheets", "check", f"landing/{DAY}/people.xlsx", "--json"]),
        run(["verify"]),
    ]
    assert statuses[:7] == [0, 1, 0, 0, 0, 1, 1]
    shown["the API"] = _ask_the_api(project, postgres)
    shown["commands"] = "".join(capfd.readouterr())
    shown["the log"] = caplog.text

    rejected = query(postgres, "SELECT target, count(*)::int FROM ops.dead_letters GROUP BY 1")
    assert dict(rejected) == {"sales.people": 4, "copies.patients": 3, "devices.records": 1}
    places = [
        *((name, text.encode()) for name, text in shown.items()),
        *_written(project, postgres),
    ]
    found = [
        f"{canary} in {place}"
        for place, content in places
        for canary in CANARIES
        if canary.encode() in content
    ]
    assert found == []
    # They were there to be shown, and the search sees them where they are kept.
    kept = query(postgres, "SELECT string_agg(l::text, ' ') FROM ops.dead_letters AS l")[0][0]
    assert [canary for canary in CANARIES if canary not in kept] == []


def _load_spreadsheets(project: Path, url: str) -> str:
    """Bad cells, a conflict of keys, and a constraint that refuses a whole file."""
    write_people(
        project / "landing" / DAY / "people.xlsx",
        ["13800canary", "Canary Ann", 1],
        ["13811112222", "Canary Bob", 2],
        ["13811112222", "Canary Bob", 3],
        ["13899999999", "Eve", "ten"],
        ["13899999990", "Eve", 10],
    )
    settings = load_settings(dict(os.environ), working_dir=project)
    resources = {
        "postgres": PostgresCopyResource(url=url, pool_min=1),
        "clock": ClockResource(fixed_at="2024-10-02T12:00:00+00:00"),
    }
    job = build_definitions(settings, resources=resources).resolve_job_def("spreadsheet_load")
    events = []
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            result = job.execute_in_process(
                instance=instance, raise_on_error=False, partition_key=DAY
            )
            events += [str(record) for record in instance.all_logs(result.run_id)]
            # The second run is refused as a whole.
            query(url, "ALTER TABLE sales.people ADD CHECK (name <> 'Canary Ann')")
            write_people(
                project / "landing" / DAY / "people_2.xlsx", ["13800000001", "Canary Ann", 1]
            )
    assert any("not quoted because columns are personal" in event for event in events)
    return "\n".join(events)


def _run_transfers(url: str) -> str:
    query(
        url,
        "CREATE TABLE public.patients (id int, mobile text PRIMARY KEY, born text);"
        "INSERT INTO public.patients VALUES (1, '13800000000', '1950')",
    )
    assert run(["tables", "run", "patients"]) == 0
    query(
        url,
        "ALTER TABLE copies.patients ADD CHECK (born < '1960');"
        "INSERT INTO public.patients VALUES (2, '13833canary', '1961'), (3, '139', '1961 canary')",
    )
    run(["-v", "tables", "run", "patients"])
    # A value that the server cannot cast, and quotes.
    query(
        url,
        "ALTER TABLE copies.patients ADD CHECK (born::int > 0);"
        "INSERT INTO public.patients VALUES (4, '13844', '1901canary')",
    )
    run(["-v", "tables", "run", "patients"])
    failed = query(url, "SELECT error_message FROM ops.loads WHERE state = 'failed'")
    return str(failed)


def _load_devices(project: Path) -> str:
    body = {
        "device_sn": "CANARY-SN-7",
        "timestamp": "2024-09-30T08:00:00Z",
        "heartRate": "canary-beats",
    }
    (project / "records").mkdir()
    (project / "records" / "a.ndjson").write_text(json.dumps(body) + "\n", encoding="utf-8")
    run(["-v", "devices", "load"])
    return ""


def _ask_the_api(project: Path, url: str) -> str:
    api = Api(url, project)
    text = (project / "batch_assets.toml").read_text(encoding="utf-8")
    headers = api.headers()
    with api.client(api.build(text)) as client:
        page = client.get("/", headers=headers, follow_redirects=True)
        answers = [page, client.get("/metrics", headers=headers), client.get("/readyz")]
    return "\n".join(f"{answer.status_code} {answer.text}" for answer in answers)


def _written(project: Path, url: str) -> Iterator[tuple[str, bytes]]:
    """Every file but the sources, workbooks unpacked; every table that a reader may read."""
    for path in sorted(project.rglob("*")):
        if not path.is_file() or path.is_relative_to(project / "landing"):
            continue
        if not path.is_relative_to(project / "records"):
            yield str(path), path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as book:
                yield from ((f"{path}!{name}", book.read(name)) for name in book.namelist())
    with psycopg.connect(url) as conn:
        names = conn.execute(
            "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'ops'::regnamespace"
            " AND c.relkind IN ('r', 'v') AND c.relname <> 'dead_letters'"
        ).fetchall()
        for (name,) in names:
            rows = conn.execute(
                sql.SQL("SELECT t::text FROM ops.{} AS t").format(sql.Identifier(name))
            )
            yield name, "\n".join(row[0] for row in rows).encode()
        rest = "SELECT (to_jsonb(l) - '{original,layout,corrected}'::text[])::text"
        rows = conn.execute(rest.encode() + b" FROM ops.dead_letters AS l")
        yield "ops.dead_letters", "\n".join(row[0] for row in rows).encode()


@pytest.mark.long
def test_masked_cells_that_are_left_alone_stand_for_what_is_below(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_people(
        project / "people.xlsx",
        ["13800000001", "Ann", "ten"],
        ["138", "Bob", 2],
        ["139", "Eve", "x"],
        ["13800000002", "Dan", 4],
    )
    run(["spreadsheets", "load", "people.xlsx", "--day", DAY])
    [errors] = (project / "state" / "spreadsheets" / "errors").rglob("*.xlsx")
    rows = list(openpyxl.load_workbook(errors)["Fix me"].iter_rows(min_row=2, values_only=True))
    assert [row[-3:] for row in rows] == [(MASK, MASK, "ten"), (MASK, MASK, "2"), (MASK, MASK, "x")]

    fixed = edit(errors, (1, "Amount", 1), (2, "Phone", "13900000001"), (3, "Amount", 3))
    assert run(["dead-letters", "replay", str(fixed), "--by", "ann"]) == 1
    again = sorted(errors.parent.glob("*-errors-*.xlsx"))[-1]
    # What was tried is below the mask now: the amount of the third row is good, its phone is not.
    last = edit(again, (1, "Phone", "13900000002"), name="last.xlsx")
    assert run(["dead-letters", "replay", str(last), "--by", "ann"]) == 0

    assert query(postgres, "SELECT phone, name, amount::int FROM sales.people ORDER BY 1") == [
        ("13800000001", "Ann", 1),
        ("13800000002", "Dan", 4),
        ("13900000001", "Bob", 2),
        ("13900000002", "Eve", 3),
    ]


@pytest.mark.long
def test_who_may_read_the_rows_can_have_them_as_they_are_and_the_audit_says_so(
    project: Path, postgres: str
) -> None:
    write_people(project / "people.xlsx", ["138", "Bob", 2])
    run(["spreadsheets", "load", "people.xlsx", "--day", DAY])

    run(["dead-letters", "export", "clear.json", "--with-personal"])

    [letter] = json.loads((project / "clear.json").read_text(encoding="utf-8"))
    assert letter["original"] == {"Phone": "138", "Name": "Bob", "Amount": "2"}
    assert query(postgres, "SELECT action, subject FROM ops.audit") == [
        ("dead-letters export", "clear.json")
    ]


@pytest.mark.long
def test_a_column_that_is_marked_later_is_masked_at_once(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (project / "batch_assets.toml").read_text(encoding="utf-8")
    (project / "batch_assets.toml").write_text(text.replace(", personal = true", ""), "utf-8")
    write_people(project / "people.xlsx", ["138", "Bob", 2])
    run(["spreadsheets", "load", "people.xlsx", "--day", DAY])
    run(["dead-letters", "list", "--json"])
    assert '"138"' in capsys.readouterr().out

    (project / "batch_assets.toml").write_text(text, encoding="utf-8")
    current_settings.cache_clear()
    run(["dead-letters", "list", "--json"])

    [letter] = json.loads(capsys.readouterr().out)
    assert letter["original"] == {"Phone": MASK, "Name": MASK, "Amount": "2"}
    assert letter["violations"][0]["observed"] == MASK
