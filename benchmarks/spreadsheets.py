"""Workbooks: a large one against openpyxl, many small ones, error cells, heartbeats, memory.

Each repetition loads the large workbook into an empty table and lets openpyxl walk over one of the
same shape, the first of them changing, and loads the small ones. openpyxl only reads; our side
also validates, hashes, stages, merges and commits.
"""

import argparse
import json
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import openpyxl

from batch_assets.execution.capacity import cpu_worker_count, read_capacity
from batch_assets.settings import ExecutionSettings
from benchmarks.error_cells import SHARED_WORKBOOKS, compare_error_cells
from benchmarks.heartbeat import beating
from benchmarks.measure import Sample, paired_ratios
from benchmarks.server import describe_machine, describe_server, open_server
from benchmarks.spreadsheet_files import (
    Book,
    orders_template,
    small_template,
    write_orders,
    write_small,
)
from benchmarks.spreadsheet_load import LoadCost, SpreadsheetLoads, open_pool
from benchmarks.spreadsheet_memory import measure_peak_mb
from benchmarks.table import print_figures

_SMALL_FILE_ROWS = 200


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rows: int
    peer_rows: int
    small_files: int
    memory_rows: int
    repetitions: int


SCALES = {
    "small": Scale(50_000, 10_000, small_files=150, memory_rows=50_000, repetitions=5),
    "full": Scale(200_000, 20_000, small_files=500, memory_rows=1_000_000, repetitions=5),
}


@dataclass(frozen=True, slots=True)
class PeerCost:
    """What openpyxl took for one row, in seconds."""

    seconds: float
    cpu_seconds: float


@dataclass(slots=True)
class Runs:
    """Costs, repetition by repetition."""

    large: list[LoadCost] = field(default_factory=list)
    small: list[LoadCost] = field(default_factory=list)
    peer: list[PeerCost] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Books:
    """What is read."""

    large: Book
    peer: Book
    small: list[Book]

    @classmethod
    def write(cls, scale: Scale, folder: Path) -> "Books":
        """Write the workbooks of a scale."""
        return cls(
            large=write_orders(folder / "orders.xlsx", scale.rows),
            peer=write_orders(folder / "orders-peer.xlsx", scale.peer_rows),
            small=write_small(folder / "small", scale.small_files, _SMALL_FILE_ROWS),
        )


def read_with_openpyxl(book: Book) -> PeerCost:
    """Walk over all values, read-only; its import is not counted.

    Raises:
        RuntimeError: It saw another number of rows.
    """
    started, cpu = time.perf_counter(), time.thread_time()
    workbook = openpyxl.load_workbook(book.path, read_only=True, data_only=True)
    rows = sum(1 for _ in workbook["Orders"].iter_rows(values_only=True))
    workbook.close()
    seconds, cpu = time.perf_counter() - started, time.thread_time() - cpu
    if rows != book.rows + 1:
        raise RuntimeError(f"openpyxl saw {rows} rows, expected {book.rows + 1}")
    return PeerCost(seconds / book.rows, cpu / book.rows)


def repeat(loads: SpreadsheetLoads, books: Books, repetitions: int) -> Runs:
    """All ways in turn, after one turn that nobody counts."""
    runs = Runs()
    for number in range(-1, repetitions):
        if number == 0:
            runs = Runs()
        if number % 2:
            runs.peer.append(read_with_openpyxl(books.peer))
        runs.large.append(loads.load(orders_template(), [books.large], is_counted=number >= 0))
        if not number % 2:
            runs.peer.append(read_with_openpyxl(books.peer))
        runs.small.append(loads.load(small_template(), books.small, is_counted=number >= 0))
    return runs


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`python -m benchmarks spreadsheets`."""
    parser = subcommands.add_parser("spreadsheets", help="workbooks against openpyxl read-only")
    parser.add_argument("--scale", choices=SCALES, default="full", help="default: full")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--database-url", help="a server to measure on; default: an embedded one")
    parser.add_argument("--repetitions", type=int, help="default: of the scale")
    parser.set_defaults(run=run_command)


def run_command(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    scale = SCALES[arguments.scale]
    repetitions = arguments.repetitions or scale.repetitions
    with tempfile.TemporaryDirectory(prefix="batch_assets-") as folder:
        figures = run_spreadsheets(scale, repetitions, Path(folder), arguments.database_url)
    figures = {"scale": arguments.scale, "repetitions": repetitions, **figures}
    print_figures(figures)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def run_spreadsheets(
    scale: Scale, repetitions: int, folder: Path, database_url: str | None
) -> dict[str, object]:
    """All figures of one scale, flat."""
    books = Books.write(scale, folder)
    execution = ExecutionSettings()
    workers = cpu_worker_count(
        read_capacity(), execution.worker_memory_bytes, execution.cpu_workers
    )
    with (
        open_server(database_url, folder / "state") as server,
        closing(server.administer()) as admin,
    ):
        with (
            open_pool(folder / "spool", workers) as pool,
            beating(server.url, folder / "api") as delays,
        ):
            loads = SpreadsheetLoads(server.connect, admin, server.postmaster(admin), pool, delays)
            runs = repeat(loads, books, repetitions)
        admin.execute("DROP SCHEMA IF EXISTS benchmark CASCADE")
        admin.execute("TRUNCATE ops.windows CASCADE")
        more = books.large
        if scale.memory_rows != scale.rows:
            more = write_orders(folder / "orders-memory.xlsx", scale.memory_rows)
        peak_mb = measure_peak_mb(more, server.url, folder / "spool")
        described = {f"server_{name}": value for name, value in describe_server(admin).items()}
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        **{name: metadata.version(name) for name in ("openpyxl", "psycopg", "pgpq", "pyarrow")},
        **described,
        "workers": workers,
        "rows": books.large.rows,
        "peer_rows": books.peer.rows,
        "small_files": len(books.small),
        **_figures(runs, books),
        **_error_figures(),
        "max_heartbeat_delay_ms": max(delays.thread_ms, delays.event_loop_ms),
        "heartbeat_thread_delay_ms": delays.thread_ms,
        "heartbeat_event_loop_delay_ms": delays.event_loop_ms,
        "heartbeat_idle_process_delay_ms": delays.idle_process_ms,
        "peak_memory_mb": peak_mb,
        "peak_memory_rows": more.rows,
    }


def _figures(runs: Runs, books: Books) -> dict[str, object]:
    figures: dict[str, object] = {}

    def add(name: str, sample: Sample) -> None:
        figures[name], figures[f"{name}_spread"] = sample.median, sample.spread

    rows, files = books.large.rows, len(books.small)
    ours = [item.cost.seconds / rows for item in runs.large]
    add("rows_per_second", Sample.of([1 / seconds for seconds in ours]))
    add("ratio_vs_openpyxl_read_only", paired_ratios([peer.seconds for peer in runs.peer], ours))
    reading = [item.worker_cpu_seconds / rows for item in runs.large]
    add("ratio_of_reading_cpu", paired_ratios([peer.cpu_seconds for peer in runs.peer], reading))
    add("openpyxl_rows_per_second", Sample.of([1 / peer.seconds for peer in runs.peer]))
    add(
        "small_files_per_second",
        Sample.of([files / item.cost.seconds for item in runs.small]),
    )
    for way, costs in (("large", runs.large), ("small", runs.small)):
        add(f"{way}_worker_cpu_seconds", Sample.of([c.worker_cpu_seconds for c in costs]))
        add(f"{way}_client_cpu_seconds", Sample.of([c.cost.client_cpu_seconds for c in costs]))
        add(f"{way}_server_cpu_seconds", Sample.of([c.cost.server_cpu_seconds for c in costs]))
    return figures


def _error_figures() -> dict[str, object]:
    if not SHARED_WORKBOOKS.is_dir():
        return {
            "lost_error_cells": None,
            "lost_error_cells_reason": "the real workbooks are not beside the project",
        }
    found = compare_error_cells(SHARED_WORKBOOKS)
    return {
        "lost_error_cells": found.lost,
        "error_cells_seen_by_openpyxl": found.seen,
        "workbooks_compared": found.workbooks,
        "workbooks_refused": found.refused,
    }
