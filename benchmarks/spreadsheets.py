"""Workbooks: a large one against openpyxl, many small ones, error cells, heartbeats, memory.

Each repetition loads the large workbook into an empty table and lets openpyxl walk over one of the
same shape, the first of them changing, and loads the small ones. openpyxl only reads; our side
also validates, hashes, stages, merges and commits.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import openpyxl

from batch_assets.execution.capacity import cpu_worker_count, read_capacity
from batch_assets.settings import ExecutionSettings
from benchmarks.command import Command, Setting, describe_run
from benchmarks.error_cells import SHARED_WORKBOOKS, compare_error_cells
from benchmarks.figures import Figures
from benchmarks.heartbeat import beating
from benchmarks.spreadsheet_files import (
    Book,
    orders_template,
    small_template,
    write_orders,
    write_small,
)
from benchmarks.spreadsheet_load import LoadCost, SpreadsheetLoads, open_pool
from benchmarks.spreadsheet_memory import measure_peak_mb

_SMALL_FILE_ROWS = 200


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rows: int
    peer_rows: int
    small_files: int
    memory_rows: int


SCALES = {
    "small": Scale(50_000, 10_000, small_files=150, memory_rows=50_000),
    "full": Scale(200_000, 20_000, small_files=500, memory_rows=1_000_000),
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


def run_spreadsheets(setting: Setting[Scale]) -> dict[str, object]:
    """All figures of one scale, flat."""
    folder, scale = setting.folder, setting.scale
    books = Books.write(scale, folder)
    execution = ExecutionSettings()
    workers = cpu_worker_count(
        read_capacity(), execution.worker_memory_bytes, execution.cpu_workers
    )
    with setting.open_server() as opened:
        server, admin = opened.server, opened.admin
        with (
            open_pool(folder / "spool", workers) as pool,
            beating(server.url, folder / "api") as delays,
        ):
            loads = SpreadsheetLoads(server.connect, admin, opened.postmaster, pool, delays)
            runs = repeat(loads, books, setting.repetitions)
        admin.execute("DROP SCHEMA IF EXISTS benchmark CASCADE")
        admin.execute("TRUNCATE ops.windows CASCADE")
        more = books.large
        if scale.memory_rows != scale.rows:
            more = write_orders(folder / "orders-memory.xlsx", scale.memory_rows)
        peak_mb = measure_peak_mb(more, server.url, folder / "spool")
        described = describe_run(("openpyxl", "psycopg", "pgpq", "pyarrow"), admin)
    return {
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


def _figures(runs: Runs, books: Books) -> Figures:
    found = Figures()
    rows, files = books.large.rows, len(books.small)
    ours = [item.cost.seconds / rows for item in runs.large]
    found.add("rows_per_second", [1 / seconds for seconds in ours])
    found.add_ratio("ratio_vs_openpyxl_read_only", [peer.seconds for peer in runs.peer], ours)
    reading = [item.worker_cpu_seconds / rows for item in runs.large]
    found.add_ratio("ratio_of_reading_cpu", [peer.cpu_seconds for peer in runs.peer], reading)
    found.add("openpyxl_rows_per_second", [1 / peer.seconds for peer in runs.peer])
    found.add("small_files_per_second", [files / item.cost.seconds for item in runs.small])
    for way, costs in (("large", runs.large), ("small", runs.small)):
        found.add(f"{way}_worker_cpu_seconds", [c.worker_cpu_seconds for c in costs])
        found.add(f"{way}_client_cpu_seconds", [c.cost.client_cpu_seconds for c in costs])
        found.add(f"{way}_server_cpu_seconds", [c.cost.server_cpu_seconds for c in costs])
    return found


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


COMMAND = Command("spreadsheets", "workbooks against openpyxl read-only", SCALES, run_spreadsheets)
