"""The IO manager as users' assets meet it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import psycopg
import pyarrow as pa
import pytest

from batch_assets.defs.common.io_manager import PostgresCopyIOManager

PROJECT = Path(__file__).resolve().parents[3]
DAILY = dg.DailyPartitionsDefinition("2024-01-01")


def materialize(
    url: str, *assets: dg.AssetsDefinition, raise_on_error: bool = True, **how: Any
) -> dg.ExecuteInProcessResult:
    resources = {"io_manager": PostgresCopyIOManager(url=url)}
    return dg.materialize(list(assets), resources=resources, raise_on_error=raise_on_error, **how)


def counts(result: dg.ExecuteInProcessResult) -> dict[str, int]:
    [event] = [e for e in result.all_events if e.is_step_materialization]
    metadata = event.step_materialization_data.materialization.metadata
    return {
        name.removeprefix("rows_"): metadata[name].value
        for name in metadata
        if name.startswith("rows_") and metadata[name].value
    }


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(statement).fetchall()


def asset_of(frame: Callable[[], Any], **settings: Any) -> dg.AssetsDefinition:
    @dg.asset(name="numbers", **settings)
    def numbers() -> Any:
        return frame()

    return numbers


def days_of(amounts: dict[str, float]) -> dg.AssetsDefinition:
    """One row a day, of which the amount can change between runs."""

    @dg.asset(
        key=["shop", "days"],
        partitions_def=DAILY,
        metadata={"key": ["id"], "window_column": "day"},
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def days(context: dg.AssetExecutionContext) -> pd.DataFrame:
        keys = [key for key in context.partition_keys if key in amounts]
        return pd.DataFrame(
            {
                "id": [date.fromisoformat(key).toordinal() for key in keys],
                "day": [date.fromisoformat(key) for key in keys],
                "amount": [amounts[key] for key in keys],
            }
        )

    return days


def test_every_type_comes_back_as_it_was(postgres: str) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.int32()),
            "flag": pa.array([True, None]),
            "ratio": pa.array([0.1, None]),
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
            "name": pa.array(["", None]),
            "raw": pa.array([b"\x00\xff", None]),
            "day": pa.array([date(2024, 1, 1), None]),
            "at": pa.array([datetime(2024, 1, 1, 12, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
            "clock": pa.array([time(1, 2, 3, 400), None], pa.time64("us")),
        }
    )
    seen: list[pa.Table] = []

    @dg.asset
    def reader(numbers: pa.Table) -> None:
        seen.append(numbers)

    materialize(postgres, asset_of(lambda: table, metadata={"key": "id"}), reader)

    assert seen[0].equals(table)


def test_integers_with_nulls_are_not_rounded_on_their_way_to_pandas(postgres: str) -> None:
    table = pa.table({"id": [1, 2], "big": pa.array([2**53 + 1, None], pa.int64())})
    seen: list[pd.DataFrame] = []

    @dg.asset
    def reader(numbers: pd.DataFrame) -> None:
        seen.append(numbers)

    materialize(postgres, asset_of(lambda: table, metadata={"key": "id"}), reader)

    assert seen[0]["big"].tolist() == [2**53 + 1, pd.NA]


def test_a_second_run_writes_nothing_and_a_third_only_what_changed(postgres: str) -> None:
    frames = [
        pd.DataFrame({"id": [1, 2, 3], "name": ["a", "b", "c"]}),
        pd.DataFrame({"id": [3, 2, 1], "name": ["c", "b", "a"]}),
        pd.DataFrame({"id": [1, 2, 4], "name": ["a", "B", "d"]}),
    ]
    asset = asset_of(lambda: frames.pop(0), metadata={"key": ["id"], "table": "shop.names"})

    results = [counts(materialize(postgres, asset)) for _ in range(3)]

    assert results == [
        {"read": 3, "inserted": 3},
        {"read": 3, "unchanged": 3},
        {"read": 3, "inserted": 1, "updated": 1, "unchanged": 1, "deleted": 1},
    ]
    assert query(postgres, "SELECT id, name FROM shop.names ORDER BY id") == [
        (1, "a"),
        (2, "B"),
        (4, "d"),
    ]


def test_days_are_replaced_one_by_one_and_in_a_range(postgres: str) -> None:
    amounts = {"2024-01-01": 1.0, "2024-01-02": 2.0, "2024-01-03": 3.0}
    days = days_of(amounts)
    with dg.DagsterInstance.ephemeral() as instance:
        whole = {
            "dagster/asset_partition_range_start": "2024-01-01",
            "dagster/asset_partition_range_end": "2024-01-03",
        }
        first = materialize(postgres, days, tags=whole, instance=instance)
        amounts["2024-01-02"] = 20.0
        materialize(postgres, days, partition_key="2024-01-02", instance=instance)

    assert first.success
    assert query(postgres, "SELECT amount FROM shop.days ORDER BY day") == [(1,), (20,), (3,)]
    loads = query(postgres, "SELECT window_key, rows_updated FROM ops.loads ORDER BY load_id")
    assert loads == [("2024-01-01", 0), ("2024-01-02", 0), ("2024-01-03", 0), ("2024-01-02", 1)]


def test_an_input_is_loaded_for_the_partitions_of_the_run(postgres: str) -> None:
    amounts = {"2024-01-01": 1.0, "2024-01-02": 2.0}
    days = days_of(amounts)
    seen: list[list[float]] = []

    @dg.asset(partitions_def=DAILY, ins={"rows": dg.AssetIn(dg.AssetKey(["shop", "days"]))})
    def reader(rows: pd.DataFrame) -> None:
        seen.append(rows["amount"].tolist())

    for key in amounts:
        materialize(postgres, days, partition_key=key)
    materialize(postgres, days, reader, partition_key="2024-01-02", selection=[reader])

    assert seen == [[2.0]]


def test_partitions_that_are_no_time_keep_their_key_with_the_rows(postgres: str) -> None:
    asset = asset_of(
        lambda: pa.table({"value": [1, 2]}),
        partitions_def=dg.StaticPartitionsDefinition(["north", "south"]),
    )

    for key in ("north", "south", "north"):
        result = materialize(postgres, asset, partition_key=key)

    assert counts(result) == {"read": 2, "unchanged": 2}
    rows = query(postgres, "SELECT partition_key, row_no, value FROM numbers ORDER BY 1, 2")
    assert rows == [("north", 1, 1), ("north", 2, 2), ("south", 1, 1), ("south", 2, 2)]


def test_a_reader_larger_than_a_chunk_is_stored_from_a_file(postgres: str) -> None:
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])

    def batches() -> pa.RecordBatchReader:
        parts = (
            pa.record_batch(
                [pa.array(range(n, n + 20_000)), pa.repeat(pa.scalar("x" * 20), 20_000)], schema
            )
            for n in range(0, 100_000, 20_000)
        )
        return pa.RecordBatchReader.from_batches(schema, parts)

    result = materialize(postgres, asset_of(batches, metadata={"key": "id"}))

    assert counts(result) == {"read": 100_000, "inserted": 100_000}


def test_a_frame_without_rows_empties_the_table_only_where_that_is_said(postgres: str) -> None:
    frames = [pd.DataFrame({"id": [1]}), pd.DataFrame({"id": pd.Series([], dtype="int64")})]
    silent = asset_of(lambda: frames[-1], metadata={"key": "id"})
    materialize(postgres, asset_of(lambda: frames[0], metadata={"key": "id"}))

    refused = materialize(postgres, silent, raise_on_error=False)
    kept = query(postgres, "SELECT count(*) FROM numbers")
    said = asset_of(lambda: frames[-1], metadata={"key": "id", "empty_ok": True})
    emptied = materialize(postgres, said)

    assert not refused.success
    assert kept == [(1,)]
    assert counts(emptied) == {"deleted": 1}


def test_a_frame_that_does_not_fit_the_table_is_refused(postgres: str) -> None:
    materialize(postgres, asset_of(lambda: pd.DataFrame({"id": [1]}), metadata={"key": "id"}))
    other = asset_of(lambda: pd.DataFrame({"id": ["one"]}), metadata={"key": "id"})

    result = materialize(postgres, other, raise_on_error=False)

    [failure] = result.get_step_failure_events()
    text = str(failure.step_failure_data.error)
    assert "bigint" in text
    assert query(postgres, "SELECT id FROM numbers") == [(1,)]


def test_what_cannot_be_stored_says_what_to_convert(postgres: str) -> None:
    nested = asset_of(lambda: pa.table({"tags": [["a"]]}))

    result = materialize(postgres, nested, raise_on_error=False)

    [failure] = result.get_step_failure_events()
    assert "convert it first" in str(failure.step_failure_data.error)


def run_example(folder: Path, url: str, *python_path: Path) -> list[str]:
    """The page's example, twice, in a project of its own: where the package is, and the counts."""
    page = (PROJECT / "docs" / "own-assets.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (folder / "shop.py").write_text(example)
    program = (
        "import batch_assets, shop\n"
        "print(batch_assets.__file__)\n"
        "for _ in range(2):\n"
        "    job = shop.defs.resolve_implicit_global_asset_job_def()\n"
        "    result = job.execute_in_process(partition_key='2024-03-01')\n"
        "    [event] = [e for e in result.all_events if e.is_step_materialization]\n"
        "    metadata = event.step_materialization_data.materialization.metadata\n"
        "    print(metadata['rows_inserted'].value, metadata['rows_unchanged'].value)\n"
    )
    path = os.pathsep.join(str(item) for item in (*python_path, folder))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "BATCH_ASSETS_DATABASE_URL": url, "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


@pytest.mark.long
def test_the_example_of_the_page_runs_in_a_project_of_its_own(
    postgres: str, tmp_path: Path
) -> None:
    _, *stored = run_example(tmp_path, postgres)

    assert stored == ["1", "0", "0", "1"]
    assert query(postgres, "SELECT day FROM shop.orders") == [(date(2024, 3, 1),)]


@pytest.mark.long
def test_the_example_runs_with_the_package_as_pip_installs_it(
    postgres_empty: str, tmp_path: Path
) -> None:
    site, project = tmp_path / "site", tmp_path / "project"
    project.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    done = subprocess.run([*pip, str(PROJECT)], check=False, capture_output=True, text=True)
    if "hatchling" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip("the package is built with hatchling, which no index in reach has")
    assert done.returncode == 0, done.stderr
    environment = {
        **os.environ,
        "BATCH_ASSETS_DATABASE_URL": postgres_empty,
        "PYTHONPATH": str(site),
    }
    migrate = [sys.executable, "-m", "batch_assets.ops.cli.main", "db", "migrate"]
    subprocess.run(migrate, cwd=project, env=environment, check=True, capture_output=True)

    place, *stored = run_example(project, postgres_empty, site)

    assert Path(place).is_relative_to(site)
    assert stored == ["1", "0", "0", "1"]


def test_polars_frames_are_stored_and_loaded_back(postgres: str) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = polars.DataFrame(
        {
            "id": [1, 2],
            "name": ["a", None],
            "day": [date(2024, 1, 1), None],
            "at": [datetime(2024, 1, 1, tzinfo=UTC), None],
            "clock": [time(1, 2, 3, 400), None],
        }
    )
    seen: list[Any] = []

    def read(numbers: Any) -> None:
        seen.append(numbers)

    read.__annotations__["numbers"] = polars.DataFrame

    materialize(postgres, asset_of(lambda: frame, metadata={"key": "id"}), dg.asset(read))

    assert seen[0].equals(frame)
