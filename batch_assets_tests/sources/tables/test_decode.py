"""CSV streams of the server as Arrow."""

from batch_assets.postgres.result_columns import ResultColumn
from batch_assets.sources.tables.decode import BLOCK_BYTES, read_arrow

INT4, TEXT = 23, 25


def column(name: str, type_oid: int) -> ResultColumn:
    return ResultColumn(name=name, type_oid=type_oid, type_modifier=-1, type_name="any")


def test_a_row_larger_than_a_block_is_one_row() -> None:
    long = "x\n" * BLOCK_BYTES
    buffers = [b"1,a\n", f'2,"{long}"\n'.encode(), b"3,\n"]

    batches = list(read_arrow(buffers, [column("id", INT4), column("note", TEXT)]))

    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert [row["note"] for row in rows] == ["a", long, None]


def test_a_single_column_that_is_null_is_a_row() -> None:
    [batch] = read_arrow([b"1\n\n3\n", b"\n"], [column("id", INT4)])

    assert batch.column("id").to_pylist() == [1, None, 3, None]


def test_no_rows_are_no_batches() -> None:
    assert list(read_arrow([b""], [column("id", INT4)])) == []
