"""Workbooks of an arrival day to rows, read in worker processes."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pytest

from batch_assets.errors import SchemaMismatch
from batch_assets.execution.isolation import IsolatedWorkers, TaskLimits
from batch_assets.ingest.spreadsheets.load import (
    READ_LIMITS,
    FileReport,
    load_workbook_files,
    options_of,
)
from batch_assets.loading.report import LoadState, RecognisedBy
from batch_assets.settings import LoadingSettings
from batch_assets.sources.spreadsheets.template import build_template
from batch_assets_tests.sources.spreadsheets.conftest import write_xlsx

DAY = date(2024, 9, 30)
HEADER = ["Order no", "Customer", "Order date", "Amount"]
COLUMNS = {
    "order_no": {"header": "Order no", "type": "integer", "required": True},
    "customer": {"header": ["Customer", "客户"], "type": "text"},
    "order_date": {"header": "Order date", "type": "date"},
    "amount": {"header": "Amount", "type": "decimal(12,2)", "min": 0},
}

Load = Callable[..., list[FileReport]]


def order(number: Any, amount: Any = 10, customer: str = "Ann") -> list[Any]:
    return [number, customer, DAY, amount]


def write_book(path: Path, *rows: list[Any], header: list[str] = HEADER) -> Path:
    book = openpyxl.Workbook()
    book.active.title = "Orders"
    for row in (header, *rows):
        book.active.append(row)
    book.save(path)
    return path


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedWorkers]:
    spool_dir = tmp_path_factory.mktemp("spool")
    with IsolatedWorkers(workers=2, spool_dir=spool_dir) as pool:
        yield pool


@pytest.fixture
def load(postgres: str, workers: IsolatedWorkers) -> Load:
    def run(
        *files: Path,
        day: date = DAY,
        force: bool = False,
        chunk_rows: int = 65_536,
        limits: TaskLimits = READ_LIMITS,
        **settings: Any,
    ) -> list[FileReport]:
        body: Mapping[str, Any] = {
            "table": "sales.orders",
            "key": "order_no",
            "columns": COLUMNS,
            "reject_limit_ratio": 1.0,
        }
        template = build_template("orders", {**body, **settings})
        options = options_of(template, LoadingSettings(chunk_rows=chunk_rows), force=force)
        return list(
            load_workbook_files(
                lambda: psycopg.connect(postgres),
                template,
                files,
                day,
                workers=workers,
                options=options,
                limits=limits,
            )
        )

    return run


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(statement).fetchall()  # type: ignore[arg-type]


def test_rows_arrive_typed_with_their_place(load: Load, tmp_path: Path, postgres: str) -> None:
    book = write_book(tmp_path / "orders.xlsx", order(1, 10.5), order(2, "1,234.50"))

    [report] = load(book)

    assert report.load.state is LoadState.SUCCESS
    assert report.load.ledger.inserted == 2
    rows = query(
        postgres,
        "SELECT order_no, order_date, amount::text, arrival_date, source_file, source_sheet, "
        "source_row FROM sales.orders ORDER BY 1",
    )
    assert rows == [
        (1, DAY, "10.50", DAY, "orders.xlsx", "Orders", 2),
        (2, DAY, "1234.50", DAY, "orders.xlsx", "Orders", 3),
    ]


def test_same_file_again_is_not_read(load: Load, tmp_path: Path, workers: IsolatedWorkers) -> None:
    first = write_book(tmp_path / "a.xlsx", order(1))
    other = write_book(tmp_path / "b.xlsx", order(2))
    load(first)
    load(other)
    done = workers.statistics().done

    [report] = load(first)

    assert workers.statistics().done == done
    assert report.load.recognised_by is RecognisedBy.SOURCE_HASH
    assert report.load.ledger.unchanged == 1


def test_refused_cell_becomes_a_dead_letter_with_its_place(
    load: Load, tmp_path: Path, postgres: str
) -> None:
    book = write_book(tmp_path / "orders.xlsx", order(1), order(2, "ten"), order(3, -1))

    [report] = load(book)

    ledger = report.load.ledger
    assert (ledger.read, ledger.inserted, ledger.rejected) == (3, 1, 2)
    letters = query(
        postgres,
        "SELECT row_number, rule, violations->0, original->>'Amount' FROM ops.dead_letters "
        "ORDER BY row_number",
    )
    assert [(row, rule, original) for row, rule, _, original in letters] == [
        (3, "unparsable_number", "ten"),
        (4, "below_minimum", "-1"),
    ]
    violation = letters[0][2]
    assert violation["cell"] == "D3"
    assert violation["sheet"] == "Orders"
    assert violation["column"] == "amount"
    assert violation["observed"] == "ten"
    assert violation["hint"]


def test_merge_changes_rows_of_earlier_files_by_key(
    load: Load, tmp_path: Path, postgres: str
) -> None:
    load(write_book(tmp_path / "a.xlsx", order(1), order(2)))

    [report] = load(write_book(tmp_path / "b.xlsx", order(2, 99), order(3)), day=date(2024, 10, 1))

    assert (report.load.ledger.updated, report.load.ledger.inserted) == (1, 1)
    rows = query(postgres, "SELECT order_no, amount::int, source_file FROM sales.orders ORDER BY 1")
    assert rows == [(1, 10, "a.xlsx"), (2, 99, "b.xlsx"), (3, 10, "b.xlsx")]


def test_row_that_only_moved_is_unchanged(load: Load, tmp_path: Path, postgres: str) -> None:
    load(write_book(tmp_path / "a.xlsx", order(1), order(2)))

    [report] = load(write_book(tmp_path / "b.xlsx", order(2), order(1), order(1)))

    ledger = report.load.ledger
    assert (ledger.unchanged, ledger.updated, ledger.duplicate) == (2, 0, 1)
    assert query(postgres, "SELECT DISTINCT source_file FROM sales.orders") == [("a.xlsx",)]


def test_many_files_of_one_day_share_a_table(load: Load, tmp_path: Path, postgres: str) -> None:
    files = [
        write_book(tmp_path / f"f{n:02}.xlsx", order(n), order(n + 1, n)) for n in range(1, 21)
    ]

    reports = load(*files)

    assert {report.load.state for report in reports} == {LoadState.SUCCESS}
    assert len(reports) == 20
    assert query(postgres, "SELECT count(*) FROM sales.orders") == [(21,)]
    for report in reports:
        report.load.ledger.check(report.load.window.key)


def test_bad_file_fails_alone(load: Load, tmp_path: Path) -> None:
    good = write_book(tmp_path / "good.xlsx", order(1))
    cut = tmp_path / "cut.xlsx"
    cut.write_bytes(good.read_bytes()[:2000])

    reports = {report.files[0]: report for report in load(good, cut)}

    assert reports["good.xlsx"].load.state is LoadState.SUCCESS
    assert reports["cut.xlsx"].load.state is LoadState.FAILED
    assert "not complete" in reports["cut.xlsx"].message


def test_replace_makes_a_day_what_its_files_say(load: Load, tmp_path: Path, postgres: str) -> None:
    first, second = tmp_path / "a.xlsx", tmp_path / "b.xlsx"
    load(write_book(first, order(1), order(2)), disposition="replace")
    load(write_book(second, order(5)), day=date(2024, 10, 1), disposition="replace")

    [report] = load(write_book(first, order(2), order(3)), disposition="replace")

    assert (report.load.ledger.deleted, report.load.ledger.inserted) == (1, 1)
    rows = query(postgres, "SELECT arrival_date::text, order_no FROM sales.orders ORDER BY 1, 2")
    assert rows == [("2024-09-30", 2), ("2024-09-30", 3), ("2024-10-01", 5)]


def test_large_file_is_staged_in_chunks(load: Load, tmp_path: Path, postgres: str) -> None:
    book = write_book(tmp_path / "a.xlsx", *(order(n) for n in range(3000)), order(7, 11))

    [report] = load(book, chunk_rows=500)

    ledger = report.load.ledger
    assert (ledger.read, ledger.inserted, ledger.rejected) == (3001, 2999, 2)
    sheets = query(postgres, "SELECT DISTINCT violations->0->>'sheet' FROM ops.dead_letters")
    assert sheets == [("Orders",)]


def test_unknown_column_is_refused_added_or_left_out(
    load: Load, tmp_path: Path, postgres: str
) -> None:
    header = [*HEADER, "备注 1"]
    book = write_book(tmp_path / "a.xlsx", [*order(1), "fragile"], header=header)

    [frozen] = load(book)
    [discarding] = load(book, contract="discard")
    [evolving] = load(book, contract="evolve")

    assert frozen.load.state is LoadState.FAILED
    assert "备注 1 (E)" in frozen.message
    assert discarding.load.state is LoadState.SUCCESS
    assert "备注 1" in discarding.warnings[0]
    assert evolving.load.ledger.updated == 1
    assert query(postgres, 'SELECT "备注_1" FROM sales.orders') == [("fragile",)]


def test_table_of_another_shape_is_refused(load: Load, tmp_path: Path, postgres: str) -> None:
    book = write_book(tmp_path / "a.xlsx", order(1))
    load(book)

    with pytest.raises(SchemaMismatch, match=r"amount is numeric\(12,2\), the template says text"):
        load(book, columns={**COLUMNS, "amount": {"header": "Amount", "type": "text"}})
    with pytest.raises(SchemaMismatch, match="is unique by order_no"):
        load(book, key=["order_no", "customer"])


def test_file_without_rows_is_not_a_success(load: Load, tmp_path: Path) -> None:
    [report] = load(write_book(tmp_path / "a.xlsx"))

    assert report.load.state is LoadState.UNCONFIRMED_EMPTY


def test_nothing_is_left_in_the_spool(load: Load, tmp_path: Path, workers: IsolatedWorkers) -> None:
    load(write_book(tmp_path / "a.xlsx", order(1)))

    assert list(workers.folder.glob("spreadsheets-*")) == []


@pytest.mark.long
def test_bomb_of_shared_strings_fails_alone(load: Load, tmp_path: Path) -> None:
    many = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>{n}</v></c></row>' for n in range(9))
    strings = "".join(f"<si><t>{n}{'x' * 4_000_000}</t></si>" for n in range(40))
    bomb = write_xlsx(tmp_path / "bomb.xlsx", f"<sheetData>{many}</sheetData>", strings=strings)
    good = write_book(tmp_path / "good.xlsx", order(1))

    reports = {report.files[0]: report for report in load(bomb, good)}

    assert reports["bomb.xlsx"].load.state is LoadState.FAILED
    assert "would expand to" in reports["bomb.xlsx"].message
    assert reports["good.xlsx"].load.state is LoadState.SUCCESS


@pytest.mark.long
def test_file_that_takes_too_long_to_read_says_so(load: Load, tmp_path: Path) -> None:
    limits = TaskLimits(timeout_seconds=0.005, memory_bytes=READ_LIMITS.memory_bytes)
    large = write_book(tmp_path / "large.xlsx", *(order(n) for n in range(10_000)))

    [report] = load(large, limits=limits)

    assert report.load.state is LoadState.FAILED
    assert "took longer than 0.005 s to read; split it" in report.message


def test_small_files_are_read_several_at_once(
    load: Load, tmp_path: Path, workers: IsolatedWorkers
) -> None:
    files = [write_book(tmp_path / f"f{n:02}.xlsx", order(n)) for n in range(1, 21)]
    done = workers.statistics().done

    reports = load(*files)

    assert {report.load.state for report in reports} == {LoadState.SUCCESS}
    assert workers.statistics().done - done == 3
