from collections.abc import Iterator

import psycopg
import pytest

from benchmarks import wide, windows
from benchmarks.own_table import contract_of as own_contract
from benchmarks.own_table import create_table, load_all, refuse_other_rows, source_of
from benchmarks.server import BenchmarkServer


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres, autocommit=True) as opened:
        yield opened


def test_tables_with_other_rows_end_the_benchmark(postgres: str, conn: psycopg.Connection) -> None:
    for name in ("core", "unnest"):
        create_table(conn, f"bench.{name}", windows.COLUMNS)
    contract = own_contract("bench.core", windows.COLUMNS)
    sources = [source_of(n, lambda n=n: windows.small_window(n, 3)) for n in range(2)]  # type: ignore[misc]  # reason: the default binds the number

    load_all(BenchmarkServer(postgres, None), contract, sources, 6)
    conn.execute("INSERT INTO bench.unnest SELECT * FROM bench.core")
    refuse_other_rows(conn, ("core", "unnest"), windows.COLUMNS, 6)

    with pytest.raises(RuntimeError, match="expected 7 each"):
        refuse_other_rows(conn, ("core", "unnest"), windows.COLUMNS, 7)
    conn.execute("UPDATE bench.unnest SET note = 'another' WHERE id = 2")
    with pytest.raises(RuntimeError, match="different rows"):
        refuse_other_rows(conn, ("core", "unnest"), windows.COLUMNS, 6)


def test_a_load_that_finds_the_rows_there_is_no_first_load(
    postgres: str, conn: psycopg.Connection
) -> None:
    create_table(conn, "bench.core", windows.COLUMNS)
    contract = own_contract("bench.core", windows.COLUMNS)
    source = source_of(0, lambda: windows.small_window(0, 3))
    load_all(BenchmarkServer(postgres, None), contract, [source], 3)

    with pytest.raises(RuntimeError, match="0 rows are new, expected 3"):
        load_all(BenchmarkServer(postgres, None), contract, [source], 3)


def test_wide_texts_have_commas_and_come_back_as_they_were(tmp_path) -> None:  # type: ignore[no-untyped-def]  # reason: a test of files alone
    [path] = wide.write_wide(tmp_path / "wide", wide.Scale(1, 4))

    found = wide.read_wide(path)

    assert found.schema.names == wide.COLUMNS.names
    assert found["text_19"][3].as_py().endswith("number 112")
    assert path.read_text().count('"') > 2 * 4 * 20
