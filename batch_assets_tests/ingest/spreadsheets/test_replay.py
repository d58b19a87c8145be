"""The loop: load, correct the error workbook, replay, and the partition balances."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from batch_assets.errors import RowsRefused, StaleAnswer, UnreadableSource
from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.loading.report import RecognisedBy
from batch_assets_tests.ingest.spreadsheets.loop import DAY, HEADER, Loop, edit, order, write_book


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedWorkers]:
    with IsolatedWorkers(workers=1, spool_dir=tmp_path_factory.mktemp("spool")) as pool:
        yield pool


@pytest.fixture
def loop(postgres: str, tmp_path: Path, workers: IsolatedWorkers) -> Loop:
    return Loop.of(postgres, tmp_path, workers)


def last_ledger(loop: Loop) -> tuple[Any, ...]:
    [row] = loop.query(
        "SELECT rows_read, rows_inserted, rows_updated, rows_unchanged, rows_duplicate, "
        "rows_rejected, rows_skipped, state FROM ops.loads ORDER BY load_id DESC LIMIT 1"
    )
    return row


def test_two_cells_corrected_and_one_row_dropped_balance_the_partition(loop: Loop) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"), order(3, -1), order(None), order(5))

    fixed = edit(
        errors,
        (1, "Amount", 10.5),
        (2, "Amount", "1,234.50"),
        (3, "_action", "drop"),
        (3, "_note", "a blank line"),
    )
    report = loop.replay(fixed)

    assert (report.fixed, report.dropped, report.refused) == (2, 1, 0)
    assert report.error_workbooks == ()
    assert loop.orders() == [
        (1, "Ann", "10.00"),
        (2, "Ann", "10.50"),
        (3, "Ann", "1234.50"),
        (5, "Ann", "10.00"),
    ]
    # read = inserted + unchanged + skipped, and nothing is rejected any more
    assert last_ledger(loop) == (5, 2, 0, 2, 0, 0, 1, "success")
    assert loop.letters() == [(3, "replayed"), (4, "replayed"), (5, "discarded")]
    places = loop.query("SELECT source_row, arrival_date FROM sales.orders WHERE order_no = 2")
    assert places == [(3, DAY)]


def test_values_before_and_after_are_kept_with_who_and_when(loop: Loop) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"), order(None))

    loop.replay(edit(errors, (1, "Amount", 10.5), (2, "_action", "drop"), (2, "_note", "a test")))

    kept = loop.query(
        "SELECT original->>'Amount', corrected, answered_by, answered_from, resolution, "
        "answered_at IS NOT NULL AND resolved_at IS NOT NULL "
        "FROM ops.dead_letters ORDER BY row_number"
    )
    assert kept[0] == ("ten", {"Amount": ["10.5", "number"]}, "ann", "fixed.xlsx", None, True)
    assert kept[1][4] == "a test"


def test_same_workbook_again_changes_nothing(loop: Loop) -> None:
    fixed = edit(loop.errors_of(order(1), order(2, "ten")), (1, "Amount", 10.5))
    loop.replay(fixed)
    everything = "SELECT * FROM ops.dead_letters", "SELECT * FROM ops.loads", "TABLE ops.windows"
    before = [loop.query(statement) for statement in everything]

    report = loop.replay(fixed)

    assert (report.fixed, report.dropped, report.refused, report.answered) == (0, 0, 0, 1)
    assert [loop.query(statement) for statement in everything] == before


def test_file_is_still_recognised_after_a_replay(loop: Loop, tmp_path: Path) -> None:
    loop.replay(edit(loop.errors_of(order(1), order(2, "ten")), (1, "Amount", 10.5)))

    again = loop.load(tmp_path / "orders.xlsx")

    assert again.load.recognised_by is RecognisedBy.SOURCE_HASH
    ledger = again.load.ledger
    assert (ledger.read, ledger.unchanged, ledger.rejected) == (2, 2, 0)
    assert len(loop.orders()) == 2


def test_what_is_still_wrong_comes_back_with_the_values_that_were_tried(loop: Loop) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"), order(3, "x"))

    report = loop.replay(edit(errors, (1, "Amount", "eleven"), (2, "Amount", 3)))

    assert (report.fixed, report.refused) == (1, 1)
    assert last_ledger(loop) == (3, 1, 0, 1, 0, 1, 0, "success")
    [again] = report.error_workbooks
    header, row = openpyxl.load_workbook(again)["Fix me"].iter_rows(values_only=True)
    assert dict(zip(header, row, strict=True))["Amount"] == "eleven"
    report = loop.replay(edit(again, (1, "Amount", 11), name="second.xlsx"))
    assert (report.fixed, report.refused) == (1, 0)
    assert last_ledger(loop) == (3, 1, 0, 2, 0, 0, 0, "success")
    assert [state for _, state in loop.letters()] == ["replayed", "replayed"]


def test_workbook_without_corrections_loads_nothing(loop: Loop) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"))

    report = loop.replay(errors)

    assert (report.fixed, report.refused) == (0, 1)
    assert len(report.error_workbooks) == 1
    assert loop.letters() == [(3, "open")]
    assert loop.replay(edit(errors, (1, "Amount", 2))).fixed == 1


def test_answer_that_differs_from_the_one_given_before_is_refused(loop: Loop) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"))
    loop.replay(edit(errors, (1, "Amount", 10)))

    with pytest.raises(StaleAnswer, match=r"other\.xlsx row 2 .* was replayed by ann on .* with"):
        loop.replay(edit(errors, (1, "Amount", 12), name="other.xlsx"), who="bob")

    assert loop.orders()[1] == (2, "Ann", "10.00")


def test_rows_that_a_newer_load_of_the_file_no_longer_has_are_refused(loop: Loop) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"))
    loop.load(write_book(loop.folder / "orders.xlsx", order(1), order(2, 12)))

    with pytest.raises(StaleAnswer, match=r"a newer load of orders\.xlsx no longer rejects"):
        loop.replay(edit(errors, (1, "Amount", 10)))

    assert loop.orders()[1] == (2, "Ann", "12.00")


def test_correction_does_not_overwrite_a_newer_row_of_another_file(loop: Loop) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"))
    newer = write_book(loop.folder / "newer.xlsx", order(2, 99))
    loop.load(newer, day=date(2024, 10, 1))

    with pytest.raises(StaleAnswer, match="1 of the rows have moved on"):
        loop.replay(edit(errors, (1, "Amount", 10)))

    assert loop.orders()[1] == (2, "Ann", "99.00")
    assert loop.letters() == [(3, "open")]
    assert loop.replay(edit(errors, (1, "_action", "drop"))).dropped == 1


def test_correction_to_the_key_of_another_row_of_the_file_is_still_wrong(loop: Loop) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"))

    report = loop.replay(edit(errors, (1, "Amount", 77), (1, "Order no", 1)))

    assert (report.fixed, report.refused) == (0, 1)
    assert loop.orders() == [(1, "Ann", "10.00")]
    rules = loop.query("SELECT rule FROM ops.dead_letters WHERE state = 'open'")
    assert rules == [("conflicting_duplicate_key",)]


def test_one_of_two_rows_with_a_key_is_kept(loop: Loop) -> None:
    errors = loop.errors_of(order(1, 10), order(1, 11), order(2))

    report = loop.replay(edit(errors, (2, "_action", "drop")))

    assert (report.fixed, report.dropped) == (1, 1)
    assert loop.orders() == [(1, "Ann", "10.00"), (2, "Ann", "10.00")]
    assert last_ledger(loop) == (3, 1, 0, 1, 0, 0, 1, "success")


def test_two_people_replay_the_same_rows_at_once(loop: Loop) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"))
    books = [edit(errors, (1, "Amount", n), name=f"{n}.xlsx") for n in (20, 30)]

    def attempt(book: Path) -> str:
        try:
            return f"fixed {loop.replay(book, who=book.stem).fixed}"
        except StaleAnswer:
            return "stale"

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(attempt, books))

    assert outcomes == ["fixed 1", "stale"]
    [(_, _, amount)] = loop.orders()[1:]
    [(who,)] = loop.query("SELECT answered_by FROM ops.dead_letters")
    assert amount == f"{who}.00"
    assert loop.query("SELECT count(*) FROM ops.leases") == [(0,)]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@sum", "\tx", "a\rb", "_x0041_", "x" * 32_700]
)
def test_untouched_values_survive_the_round_trip(loop: Loop, text: str) -> None:
    errors = loop.errors_of(order(1), order(2, "ten", text))
    [[stored]] = loop.query("SELECT original->>'Customer' FROM ops.dead_letters")

    loop.replay(edit(errors, (1, "Amount", 10)))

    assert loop.orders()[1][1] == stored.strip()
    [[given]] = loop.query("SELECT corrected FROM ops.dead_letters")
    assert list(given) == ["Amount"]


def test_cells_come_back_as_numbers_and_dates(loop: Loop) -> None:
    errors = loop.errors_of(order(1), ["x2", "Ann", "never", "ten"])

    loop.replay(
        edit(errors, (1, "Order no", 2), (1, "Order date", date(2024, 9, 1)), (1, "Amount", 3.25))
    )

    rows = loop.query("SELECT order_no, order_date, amount::text FROM sales.orders ORDER BY 1")
    assert rows[1] == (2, date(2024, 9, 1), "3.25")


def test_numbers_of_the_file_keep_their_meaning_where_a_comma_is_declared(
    postgres: str, tmp_path: Path, workers: IsolatedWorkers
) -> None:
    columns = {
        "order_no": {"header": "Order no", "type": "integer", "required": True},
        "customer": {"header": "Customer"},
        "order_date": {"header": "Order date", "type": "date", "date_formats": ["%d.%m.%Y"]},
        "amount": {"header": "Amount", "type": "decimal(12,2)", "decimal_comma": True},
    }
    loop = Loop.of(postgres, tmp_path, workers, columns=columns)
    errors = loop.errors_of(order(1), order("x", 1234.5))

    loop.replay(edit(errors, (1, "Order no", 2)))

    assert loop.orders()[1] == (2, "Ann", "1234.50")
    assert loop.query("SELECT DISTINCT order_date FROM sales.orders") == [(DAY,)]


def test_day_of_a_template_that_replaces_keeps_its_other_rows(
    postgres: str, tmp_path: Path, workers: IsolatedWorkers
) -> None:
    loop = Loop.of(postgres, tmp_path, workers, disposition="replace")
    errors = loop.errors_of(order(1), order(2, "ten"))

    loop.replay(edit(errors, (1, "Amount", 20)))

    assert [row[0] for row in loop.orders()] == [1, 2]
    assert last_ledger(loop) == (2, 1, 0, 1, 0, 0, 0, "success")
    again = loop.load(tmp_path / "orders.xlsx")
    assert again.load.recognised_by is RecognisedBy.SOURCE_HASH


def test_rows_of_a_load_that_failed_as_a_whole_are_refused(
    postgres: str, tmp_path: Path, workers: IsolatedWorkers
) -> None:
    loop = Loop.of(postgres, tmp_path, workers, reject_limit_ratio=0.01)
    errors = loop.errors_of(order(1), order(2, "ten"))
    facts = openpyxl.load_workbook(errors)["Summary"]
    assert any("Nothing of the file was loaded" in str(c.value) for row in facts for c in row)

    with pytest.raises(StaleAnswer, match="correct the file itself"):
        loop.replay(edit(errors, (1, "Amount", 20)))

    assert loop.letters() == [(3, "open")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((1, "_id", "abc"), "_id is 'abc', expected the number that was written"),
        ((1, "_id", 999_999), "999999 is no dead letter of this database"),
        ((1, "_action", "later"), "_action is 'later', expected one of fix or drop"),
    ],
)
def test_workbook_that_lost_its_marks_is_refused(
    loop: Loop, change: tuple[int, str, Any], message: str
) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"))

    with pytest.raises((UnreadableSource, StaleAnswer), match=message):
        loop.replay(edit(errors, change))

    assert loop.letters() == [(3, "open")]


def test_other_workbook_is_refused(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="has no sheet 'Fix me'"):
        loop.replay(write_book(tmp_path / "orders.xlsx", order(1)))


def test_row_that_the_table_refuses_changes_nothing(loop: Loop) -> None:
    errors = loop.errors_of(order(1), order(2, "ten"), order(3, "x"))
    with loop.connect() as conn:
        conn.execute("ALTER TABLE sales.orders ADD CONSTRAINT small CHECK (amount < 100)")

    with pytest.raises(RowsRefused, match="small"):
        loop.replay(edit(errors, (1, "Amount", 500), (2, "Amount", 5)))

    assert [row[0] for row in loop.orders()] == [1]
    assert loop.letters() == [(3, "open"), (4, "open")]
    assert loop.query("SELECT count(*) FROM ops.leases") == [(0,)]
    assert loop.replay(edit(errors, (1, "Amount", 50), (2, "Amount", 5))).fixed == 2


def test_columns_that_the_template_does_not_name_are_kept_where_it_evolves(
    postgres: str, tmp_path: Path, workers: IsolatedWorkers
) -> None:
    loop = Loop.of(postgres, tmp_path, workers, contract="evolve")
    rows = [*order(1), "a"], [*order(2, "ten"), "b"]
    book = write_book(tmp_path / "a.xlsx", *rows, header=[*HEADER, "备注 1"])
    errors = loop.load(book).error_workbook
    assert errors is not None

    loop.replay(edit(errors, (1, "Amount", 5)))

    kept = loop.query('SELECT order_no, "备注_1" FROM sales.orders ORDER BY 1')
    assert kept == [(1, "a"), (2, "b")]


def test_header_of_two_lines_finds_its_columns_again(
    postgres: str, tmp_path: Path, workers: IsolatedWorkers
) -> None:
    columns = {
        "order_no": {"header": "Order No", "type": "integer", "required": True},
        "customer": {"header": "Name"},
        "amount": {"header": "Amount", "type": "decimal(12,2)"},
    }
    loop = Loop.of(postgres, tmp_path, workers, columns=columns)
    rows = ["No", "Name", "Amount"], [1, "Ann", 1], [2, "Bob", "x"]
    book = write_book(tmp_path / "a.xlsx", *rows, header=["Order", None, "Money"])
    errors = loop.load(book).error_workbook
    assert errors is not None
    names = [cell.value for cell in openpyxl.load_workbook(errors)["Fix me"][1]]

    loop.replay(edit(errors, (1, names[-1], 5)))

    assert names[-3:] == ["Order No", "Order Name", "Money Amount"]
    assert loop.orders() == [(1, "Ann", "1.00"), (2, "Bob", "5.00")]
