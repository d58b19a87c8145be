"""Files that mean harm: links, entities, cells without end, and names that are statements."""

import logging
import os
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import openpyxl
import psycopg
import pytest

from batch_assets.errors import UnreadableSource
from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.devices.files import scan_device_folder
from batch_assets.ingest.spreadsheets.inbox import find_corrected
from batch_assets.sources.spreadsheets.landing import find_arrived
from batch_assets_tests.ingest.spreadsheets.loop import DAY, HEADER, Loop, order, write_book

NOW = datetime(2100, 1, 1, tzinfo=UTC)
HOSTILE = (
    'x"; DROP TABLE sales.orders; --',
    "a' OR '1'='1",
    "{0} %s %(name)s",
    "列" * 70,
    "Robert\n); DROP SCHEMA ops CASCADE;",
)
LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + "]>"
)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedWorkers]:
    with IsolatedWorkers(workers=1, spool_dir=tmp_path_factory.mktemp("spool")) as pool:
        yield pool


@pytest.fixture
def loop(postgres: str, tmp_path: Path, workers: IsolatedWorkers) -> Loop:
    return Loop.of(postgres, tmp_path, workers, contract="evolve")


@pytest.mark.long
def test_links_out_of_a_landing_folder_are_left_out_and_said(
    loop: Loop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in ("orders.xlsx", "a.ndjson"):
        (secret / name).write_text("not for you", encoding="utf-8")
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "orders-1.xlsx").symlink_to(secret / "orders.xlsx")
    (landing / "b.ndjson").symlink_to(secret / "a.ndjson")
    (landing / "2024-09-30").symlink_to(secret, target_is_directory=True)
    os.mkfifo(landing / "orders-2.xlsx")

    with caplog.at_level(logging.WARNING), psycopg.connect(loop.url) as conn:
        assert find_arrived(landing, loop.template) == []
        assert find_corrected(landing, now=NOW, settle_seconds=0) == []
        assert scan_device_folder(conn, landing, settled_before=NOW) == 0

    for name in ("orders-1.xlsx", "b.ndjson", "2024-09-30"):
        assert f"'{name}' is a link and is left out; put a copy into the folder" in caplog.text


@pytest.mark.long
def test_headers_that_are_statements_become_columns(loop: Loop, tmp_path: Path) -> None:
    book = write_book(tmp_path / "orders.xlsx", [1, "Ann", DAY, 10, *HOSTILE],
                      header=[*HEADER, *HOSTILE])  # fmt: skip

    report = loop.load(book)

    assert report.load.ledger.inserted == 1, report
    [row] = loop.query("SELECT to_jsonb(o) FROM sales.orders AS o")
    assert set(HOSTILE) <= {str(value).replace("\r", "") for value in row[0].values()}
    columns = loop.query(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'sales'"
    )
    assert all(len(name.encode()) <= 63 for (name,) in columns)
    assert loop.query("SELECT count(*) FROM ops.loads WHERE state = 'success'") == [(1,)]


@pytest.mark.long
@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml"])
def test_entities_that_grow_in_a_workbook_are_not_expanded(
    loop: Loop, tmp_path: Path, part: str
) -> None:
    plain = write_book(tmp_path / "plain.xlsx", order(1, customer="&amp;a9;"))
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "orders.xlsx", "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name == part:
                head, mark, rest = text.partition(
                    b"<worksheet" if b"<worksheet" in text else b"<workbook"
                )
                text = head + LAUGHS.encode() + mark + rest.replace(b"&amp;amp;", b"&")
            new.writestr(name, text)

    report = loop.load(tmp_path / "orders.xlsx")

    # Refused, or read as if the entity said nothing: a billion of them is what must not be.
    assert report.load.error is None or isinstance(report.load.error, UnreadableSource)
    longest = loop.query(
        "SELECT coalesce(max(length(customer)), 0) FROM sales.orders"
    ) if report.load.error is None else [(0,)]  # fmt: skip
    assert longest[0][0] < 1_000


@pytest.mark.long
def test_a_long_cell_is_kept_whole_and_one_without_end_is_refused(
    loop: Loop, tmp_path: Path
) -> None:
    def write(name: str, length: int) -> Path:
        cell = "x" * length
        text = f'{",".join(HEADER)}\n1,"{cell}",2024-09-30,10\n2,"{cell}",2024-09-30,ten\n'
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    long = loop.load(write("long.csv", 120_000))
    endless = loop.load(write("endless.csv", 3_000_000))

    assert (long.load.ledger.inserted, long.load.ledger.rejected) == (1, 1), long
    assert loop.query("SELECT length(customer) FROM sales.orders") == [(120_000,)]
    assert long.error_workbook is not None
    rows = list(openpyxl.load_workbook(long.error_workbook)["Fix me"].values)
    assert max(len(str(value)) for value in rows[1]) < 32_768
    assert "field larger than field limit" in str(endless.load.error)
