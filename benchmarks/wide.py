r"""Wide rows, twenty texts of about a hundred bytes each, from CSV: the core and `psql \copy`.

Both load the same files into equal keyed tables, in turn, and must have stored the same.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from benchmarks.command import Command, OpenServer, Setting, describe_run
from benchmarks.figures import Figures, iter_turns
from benchmarks.measure import Cost, children_cpu_seconds, measure, peak_memory_mb
from benchmarks.own_table import (
    contract_of,
    create_table,
    key_of_rows,
    load_all,
    refuse_other_rows,
    source_of,
    with_key,
)
from benchmarks.psql_copy import find_psql
from benchmarks.server import BenchmarkServer, empty_tables

_TEXTS = 20
_SAMPLE = "A sentence of a hundred bytes, as comments and addresses have them; commas, too, number "
COLUMNS = with_key(*((f"text_{number:02d}", pa.string()) for number in range(_TEXTS)))


@dataclass(frozen=True, slots=True)
class Scale:
    """Windows, and the rows of each."""

    windows: int
    rows: int


SCALES = {"small": Scale(10, 2_000), "full": Scale(50, 5_000)}


def write_wide(folder: Path, scale: Scale) -> list[Path]:
    """Windows as CSV files, whose texts have commas and so are quoted."""
    folder.mkdir(parents=True)
    paths = []
    for number in range(scale.windows):
        texts = [
            pa.array([f"{_SAMPLE}{each * 31 + column + number}" for each in range(scale.rows)])
            for column in range(_TEXTS)
        ]
        paths.append(folder / f"{number:04d}.csv")
        rows = pa.table([*key_of_rows(number, scale.rows), *texts], schema=COLUMNS)
        pa_csv.write_csv(rows, paths[-1])
    return paths


def read_wide(path: Path) -> pa.Table:
    """A file with the contract's types."""
    types = {field.name: field.type for field in COLUMNS}
    return pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=types))


def load_wide(server: BenchmarkServer, paths: Sequence[Path], rows: int) -> None:
    """All files by the core."""
    sources = [
        source_of(number, lambda path=path: read_wide(path))  # type: ignore[misc]
        # reason: the default is what binds the path of this turn
        for number, path in enumerate(paths)
    ]
    load_all(server, contract_of("bench.core", COLUMNS), sources, rows)


@dataclass(frozen=True, slots=True)
class WideBenchmark:
    """Repetitions of both ways on one server."""

    opened: OpenServer
    paths: Sequence[Path]
    rows: int

    def repeat(self, repetitions: int) -> dict[str, list[Cost]]:
        """Both in turn, after one round that nobody counts; the core alone where no psql is."""
        opened = self.opened
        works: dict[str, Callable[[], None]] = {"core": self._core}
        psql = find_psql(opened.server)
        if psql is not None:
            copies = [
                f"\\copy bench.psql ({', '.join(COLUMNS.names)}) FROM '{path}' "
                "WITH (FORMAT csv, HEADER)"
                for path in self.paths
            ]
            works["psql"] = lambda: psql.run(opened.server, copies)
        for way in works:
            create_table(opened.admin, f"bench.{way}", COLUMNS)
        costs: dict[str, list[Cost]] = {way: [] for way in works}
        for is_counted, turn in iter_turns(tuple(works), repetitions):
            for way in turn:
                empty_tables(opened.admin)
                opened.admin.execute(f"TRUNCATE bench.{way}")
                children = children_cpu_seconds()
                cost = measure(opened.admin, works[way], postmaster=opened.postmaster)
                children = children_cpu_seconds() - children
                if is_counted:
                    client = children if way == "psql" else cost.client_cpu_seconds
                    costs[way].append(replace(cost, client_cpu_seconds=client))
            refuse_other_rows(opened.admin, tuple(works), COLUMNS, self.rows)
        return costs

    def _core(self) -> None:
        load_wide(self.opened.server, self.paths, self.rows)

    def memory_mb(self) -> float:
        """The peak of a fresh process that loads the files."""
        empty_tables(self.opened.admin)
        self.opened.admin.execute("TRUNCATE bench.core")
        described = {
            "url": self.opened.server.url,
            "paths": [str(path) for path in self.paths],
            "rows": self.rows,
        }
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.wide"],
            input=json.dumps(described),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return float(json.loads(done.stdout))


def run_wide(setting: Setting[Scale]) -> dict[str, object]:
    """All figures of one scale, flat."""
    scale = setting.scale
    rows = scale.windows * scale.rows
    paths = write_wide(setting.folder / "wide", scale)
    with setting.open_server() as opened:
        found = Figures(describe_run(("psycopg", "pgpq", "pyarrow"), opened.admin))
        benchmark = WideBenchmark(opened, paths, rows)
        costs = benchmark.repeat(setting.repetitions)
        found["rows"] = rows
        found["csv_bytes_per_row"] = sum(path.stat().st_size for path in paths) / rows
        if "psql" in costs:
            seconds = {way: [cost.seconds for cost in costs[way]] for way in costs}
            found.add_ratio("ratio_vs_psql_copy", seconds["psql"], seconds["core"])
            cpu_seconds = {way: [cost.cpu_seconds for cost in costs[way]] for way in costs}
            found.add_ratio("cpu_ratio_vs_psql_copy", cpu_seconds["psql"], cpu_seconds["core"])
        for way, each in costs.items():
            found.add(f"{way}_rows_per_second", [rows / cost.seconds for cost in each])
            for side in ("client", "server"):
                cpu = [getattr(cost, f"{side}_cpu_seconds") / rows * 1e6 for cost in each]
                found.add(f"{way}_{side}_cpu_us_per_row", cpu)
            found.add(f"{way}_wal_bytes_per_row", [cost.wal_bytes / rows for cost in each])
        found["peak_memory_mb"] = benchmark.memory_mb()
    return found


COMMAND = Command("wide", "wide rows of text", SCALES, run_wide)


if __name__ == "__main__":
    asked = json.loads(sys.stdin.read())
    load_wide(
        BenchmarkServer(asked["url"], None), [Path(path) for path in asked["paths"]], asked["rows"]
    )
    sys.stdout.write(json.dumps(peak_memory_mb()))
