"""Files that are read together are the rows that they are alone, numbered through."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.errors import UnreadableSource
from batch_assets.sources.devices import small_files
from batch_assets.sources.devices.files import read_batches
from batch_assets.sources.devices.parse import RecordKind
from batch_assets.sources.devices.small_files import Gathering, SmallFile, read_small_file

_MOMENT = "2025-01-31T08:00:00Z"
_PLAIN = {"device_sn": "A", "main_data": {"timestamp": _MOMENT, "heart_rate": 60}}
_LINES = (
    json.dumps(_PLAIN),
    json.dumps({"device_sn": "B", "daily_data": {"date": "2025-01-31", "step": 5}}),
    json.dumps({"device_sn": "C", "main_data": {"timestamp": 1738310400, "firmware": "1"}}),
    json.dumps({"device_sn": "D", "main_data": {"timestamp": _MOMENT, "heart_rate": 999}}),
    json.dumps({"device_sn": "E", "redis_data": {}, "weekly_data": {"week": "2025-01-29"}}),
    "no json",
    "",
)
_CSV = ("A,2025-01-31T08:00:00Z,60", "B,2025-01-31T08:00:00Z,999", "C,1738310400,61", "D,x")
Row = tuple[int, str, dict[str, object]]


def small(path: Path, content: bytes, **options: int) -> SmallFile:
    found = read_small_file(
        path,
        path.name,
        content,
        after_row=options.get("after_row", 0),
        rows_max=options.get("rows_max", 1000),
        zone="UTC",
    )
    assert found is not None
    return found


def gathered(files: list[tuple[Path, bytes]]) -> tuple[list[Row], list[tuple[int, str]], int]:
    """Rows and dead letters of files that are read together, and how many were read."""
    together = Gathering("UTC")
    for path, content in files:
        found = small(path, content)
        together.add(found, found.last_row)
    batch = together.read()
    rows = [
        (row.pop("row_number"), str(kind), row)
        for kind, some in batch.rows.items()
        for row in some.to_pylist()
    ]
    rejected = [(row.row, row.violations[0].rule) for row in batch.rejected]
    return sorted(rows, key=str), sorted(rejected), batch.read_rows


def alone(files: list[tuple[Path, bytes]]) -> tuple[list[Row], list[tuple[int, str]], int]:
    """The same of files that are read one by one."""
    rows: list[Row] = []
    rejected: list[tuple[int, str]] = []
    read = offset = 0
    for path, content in files:
        for batch in read_batches(path, path.name, content=content):
            read += batch.read_rows
            rejected += [(row.row + offset, row.violations[0].rule) for row in batch.rejected]
            for kind, some in batch.rows.items():
                rows += [
                    (row.pop("row_number") + offset, str(kind), row) for row in some.to_pylist()
                ]
        offset += small(path, content).last_row
    return sorted(rows, key=str), sorted(rejected), read


def as_file(number: int, is_csv: bool, is_packed: bool, lines: list[int]) -> tuple[Path, bytes]:
    known = ("device_sn,measured_at,heart_rate", *_CSV) if is_csv else _LINES
    chosen = [known[place % len(known)] for place in lines if not is_csv or place % len(known)]
    text = "".join(f"{line}\n" for line in ([known[0], *chosen] if is_csv else chosen))
    name = f"{number}.{'csv' if is_csv else 'ndjson'}{'.gz' if is_packed else ''}"
    return Path(name), gzip.compress(text.encode()) if is_packed else text.encode()


@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.lists(st.integers(0, 20), max_size=5)),
        max_size=6,
    )
)
def test_rows_do_not_depend_on_what_is_read_with_them(
    chosen: list[tuple[bool, bool, list[int]]],
) -> None:
    files = [as_file(number, *one) for number, one in enumerate(chosen)]

    assert gathered(files) == alone(files)


def test_parquet_is_numbered_through_too(tmp_path: Path) -> None:
    table = pa.table({"device_sn": ["A", "B"], "time": [_MOMENT] * 2, "hr": [60, 999]})
    pq.write_table(table, tmp_path / "a.parquet")
    parquet = (tmp_path / "a.parquet", (tmp_path / "a.parquet").read_bytes())
    lines = as_file(1, False, False, [0, 1])

    rows, rejected, read = gathered([lines, parquet, lines])

    assert [(number, kind) for number, kind, _ in rows] == [
        (1, RecordKind.RECORDS),
        (2, RecordKind.DAILY),
        (3, RecordKind.RECORDS),
        (5, RecordKind.RECORDS),
        (6, RecordKind.DAILY),
    ]
    assert (rejected, read) == ([(4, "impossible_value")], 6)


def test_file_that_unpacks_to_more_rows_than_go_together_is_none() -> None:
    path, content = as_file(1, False, True, [0] * 11)
    options = {"after_row": 0, "zone": "UTC"}

    assert read_small_file(path, "a", content, rows_max=10, **options) is None  # type: ignore[arg-type]
    assert read_small_file(path, "a", content, rows_max=11, **options) is not None  # type: ignore[arg-type]


def test_file_that_unpacks_to_more_bytes_than_go_together_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(small_files, "GATHERED_BYTES", 1000)
    path, content = as_file(1, False, True, [0] * 50)

    found = read_small_file(path, "a", content, after_row=0, rows_max=1000, zone="UTC")

    assert found is None


def test_gathering_has_room_for_as_many_rows_as_it_is_told() -> None:
    together, ten = Gathering("UTC"), small(*as_file(1, False, False, [0] * 10))
    together.add(ten, ten.last_row)

    assert together.has_room_for(ten, 20)
    assert not together.has_room_for(ten, 19)


def test_file_that_is_cut_off_is_refused() -> None:
    path, content = as_file(1, False, True, [0] * 10)

    with pytest.raises(UnreadableSource, match=r"^1\.ndjson\.gz: cannot be read to its end"):
        small(path, content[:-8])


def test_rows_that_were_committed_are_left_out() -> None:
    found = small(*as_file(1, False, False, [0, 1, 2]), after_row=2)

    assert (found.last_row, [number for number, _ in found.lines]) == (3, [3])
