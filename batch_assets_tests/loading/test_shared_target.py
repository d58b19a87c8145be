"""Windows that share a table are published together where no key is in two of them."""

from dataclasses import replace

import psycopg
import pytest

from batch_assets.contracts.table import TableContract, Window
from batch_assets.loading.prepare import WindowSource
from batch_assets_tests.loading.synthetic import (
    CONTRACT,
    Row,
    create_table,
    load,
    rows_of,
    source_of,
)

SHARED: TableContract = replace(CONTRACT, window_column=None, shares_target=True)


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    return postgres


def file_of(name: str, *rows: Row) -> WindowSource:
    return replace(source_of(rows), window=Window(name), source_file=name)


def ledgers(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(
            "SELECT window_key, rows_read, rows_inserted, rows_updated, rows_unchanged, "
            "rows_before, rows_after, publish_path "
            "FROM ops.loads ORDER BY load_id"
        ).fetchall()


def test_files_without_a_common_key_each_have_their_own_ledger(database: str) -> None:
    load(database, file_of("a", ("A", "1", None), ("B", "1", None)), contract=SHARED)

    load(
        database,
        file_of("b", ("A", "2", None), ("C", "1", None)),
        file_of("c", ("B", "1", None), ("D", "1", None), ("E", "1", None)),
        contract=SHARED,
        publish_connections=1,
    )

    assert ledgers(database) == [
        ("a", 2, 2, 0, 0, 0, 2, "direct"),
        ("b", 2, 1, 1, 0, 1, 2, "merge"),
        ("c", 3, 2, 0, 1, 1, 3, "merge"),
    ]
    assert [row[:2] for row in rows_of(database, "symbol, price::int::text")] == [
        ("A", "2"), ("B", "1"), ("C", "1"), ("D", "1"), ("E", "1"),
    ]  # fmt: skip


def test_later_file_changes_what_an_earlier_one_of_the_group_brought(database: str) -> None:
    load(
        database,
        file_of("a", ("A", "1", None)),
        file_of("b", ("A", "2", None), ("B", "1", None)),
        contract=SHARED,
        publish_connections=1,
    )

    assert [row[:5] for row in ledgers(database)] == [("a", 1, 1, 0, 0), ("b", 2, 1, 1, 0)]
    assert rows_of(database, "symbol, price::int, revision") == [("A", 2, 2), ("B", 1, 1)]
