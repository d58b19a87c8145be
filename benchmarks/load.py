r"""One year of a market's day files: the core against `psql \copy`, and runs that change little.

Each repetition starts with empty tables and loads the year twice, by psql and by the core, in an
order that alternates; then the same source again, equal content in other bytes, and one per cent
of changed rows. Both sides must hold the same rows after each repetition, or the run is refused.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.child import run_child
from benchmarks.core_load import Loaded, load_days
from benchmarks.market_year import DayFiles, write_changed, write_reordered, write_year
from benchmarks.measure import Cost, Sample, measure, paired_ratios
from benchmarks.psql_copy import PEER_TABLE, Psql, copy_commands, create_peer_table, find_psql
from benchmarks.real_market import SHARED_FOLDER, write_real
from benchmarks.server import (
    BenchmarkServer,
    describe_machine,
    describe_server,
    empty_tables,
    open_server,
)
from benchmarks.table import print_figures

CHANGED_RATIO = 0.01


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    symbols: int
    sessions: int
    repetitions: int
    dagster_repetitions: int


SCALES = {
    "small": Scale(symbols=5_000, sessions=25, repetitions=5, dagster_repetitions=3),
    "full": Scale(symbols=5_000, sessions=250, repetitions=7, dagster_repetitions=3),
}


@dataclass(slots=True)
class Runs:
    """Costs of each way, repetition by repetition."""

    psql: list[Cost] = field(default_factory=list)
    first: list[Cost] = field(default_factory=list)
    same_source: list[Cost] = field(default_factory=list)
    same_content: list[Cost] = field(default_factory=list)
    difference: list[Cost] = field(default_factory=list)
    changed: list[Cost] = field(default_factory=list)
    changed_back: list[Cost] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Variants:
    """The same year in the forms it is loaded in."""

    original: DayFiles
    reordered: DayFiles
    changed: DayFiles
    changed_rows: int

    @classmethod
    def write(cls, original: DayFiles, folder: Path) -> "Variants":
        """Derive the other forms from the original files."""
        changed, changed_rows = write_changed(original, folder / "changed", ratio=CHANGED_RATIO)
        reordered = write_reordered(original, folder / "reordered")
        return cls(original, reordered, changed, changed_rows)


@dataclass(slots=True)
class LoadBenchmark:
    """Repetitions over one set of files on one server."""

    server: BenchmarkServer
    psql: Psql | None
    cache_dir: Path
    admin: psycopg.Connection

    def repeat(self, files: Variants, repetitions: int) -> Runs:
        """All ways, `repetitions` times, after one turn that nobody counts."""
        self.run_once(files, Runs(), number=0)
        runs = Runs()
        for number in range(repetitions):
            self.run_once(files, runs, number=number)
        return runs

    def run_once(self, files: Variants, runs: Runs, *, number: int) -> None:
        """One repetition; the first load and psql take turns at being first."""
        self._empty()
        loads = [lambda: self._copy(files.original, runs), lambda: self._first(files, runs)]
        for load in loads if number % 2 else reversed(loads):
            load()
        if self.psql is not None:
            self._refuse_other_rows()
        rows = files.original.row_count
        runs.same_source.append(self._load(files.original, unchanged=rows, how="source_hash"))
        runs.same_content.append(self._load(files.reordered, unchanged=rows, how="content_hash"))
        forced = self._load(files.original, unchanged=rows, how="difference", force=True)
        runs.difference.append(forced)
        same = rows - files.changed_rows
        runs.changed.append(self._load(files.changed, unchanged=same))
        # The same rows once more, on pages that were changed since the last checkpoint.
        runs.changed_back.append(self._load(files.original, unchanged=same, checkpoint=False))

    def _empty(self) -> None:
        empty_tables(self.admin)
        if self.psql is not None:
            self.admin.execute("TRUNCATE benchmark_peer.daily_bars")

    def _copy(self, files: DayFiles, runs: Runs) -> None:
        if self.psql is None:
            return
        psql, commands = self.psql, copy_commands(files)
        # Our imports are warm, so the start of the client program is not counted either.
        start = measure(self.admin, lambda: psql.run(self.server, ["SELECT 1 \\g /dev/null"]))
        cost = measure(self.admin, lambda: psql.run(self.server, commands))
        seconds = cost.seconds - start.seconds
        runs.psql.append(Cost(seconds, cost.wal_bytes, cost.checkpoints))

    def _first(self, files: Variants, runs: Runs) -> None:
        runs.first.append(self._load(files.original, unchanged=0))

    def _load(
        self,
        files: DayFiles,
        *,
        unchanged: int,
        how: str | None = None,
        force: bool = False,
        checkpoint: bool = True,
    ) -> Cost:
        results: list[Loaded] = []

        def work() -> None:
            connect, feed = self.server.connect, files.feed()
            results.append(load_days(connect, feed, self.cache_dir, files.days, force=force))

        cost = measure(self.admin, work, checkpoint=checkpoint)
        ledger = results[0].ledger
        if (ledger.read, ledger.unchanged) != (files.row_count, unchanged):
            raise RuntimeError(
                f"{files.folder.name}: {ledger}, expected {files.row_count} read and {unchanged} "
                "unchanged; the figures would be those of another work"
            )
        if how is not None and results[0].recognised != {how: len(files.days)}:
            raise RuntimeError(f"recognised {results[0].recognised}, expected all days by {how}")
        return cost

    def _refuse_other_rows(self) -> None:
        ours, peers = (self._checksums(name) for name in ("market.daily_bars", PEER_TABLE))
        if ours != peers:
            raise RuntimeError(f"the core stored {ours}, psql stored {peers}, expected the same")

    def _checksums(self, table: str) -> tuple[object, ...]:
        row = self.admin.execute(
            sql.SQL(
                "SELECT count(*), sum(volume), sum(close), sum(open + high + low + pre_close), "
                "sum(amount), sum(hashtext(symbol || trade_date)::bigint) FROM {}"
            ).format(sql.Identifier(*table.split(".")))
        ).fetchone()
        assert row is not None
        return row


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`python -m benchmarks load`."""
    parser = subcommands.add_parser("load", help="day files of a market against psql \\copy")
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
        figures = run_load(scale, repetitions, Path(folder), arguments.database_url)
    figures = {"scale": arguments.scale, "repetitions": repetitions, **figures}
    print_figures(figures)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def run_load(
    scale: Scale, repetitions: int, folder: Path, database_url: str | None
) -> dict[str, object]:
    """All figures of one scale, flat."""
    cache_dir = folder / "cache"
    year = write_year(folder / "year", cache_dir, symbols=scale.symbols, sessions=scale.sessions)
    files = Variants.write(year, folder / "year-variants")
    with (
        open_server(database_url, folder / "state") as server,
        closing(server.administer()) as admin,
    ):
        psql = find_psql(server)
        if psql is not None:
            create_peer_table(admin)
        benchmark = LoadBenchmark(server, psql, cache_dir, admin)
        figures: dict[str, object] = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "psql": psql.version if psql else "absent",
            **{name: metadata.version(name) for name in ("psycopg", "pgpq", "pyarrow")},
            **{f"server_{name}": value for name, value in describe_server(admin).items()},
            "checkpoint_cadence": "one before each run",
            "rows": year.row_count,
            **_figures(benchmark.repeat(files, repetitions), files),
        }
        if SHARED_FOLDER.is_dir():
            real = Variants.write(write_real(folder / "real"), folder / "real-variants")
            runs = benchmark.repeat(real, repetitions)
            figures.update({f"real_{k}": v for k, v in _figures(runs, real).items()})
            figures["real_rows"] = real.original.row_count
        empty_tables(admin)
        figures.update(run_child("memory", year, cache_dir, server.url))
        more = {"home": str(folder / "home"), "repetitions": scale.dagster_repetitions}
        figures.update(run_child("dagster", year, cache_dir, server.url, **more))
    return figures


def _figures(runs: Runs, files: Variants) -> dict[str, object]:
    rows = files.original.row_count
    figures: dict[str, object] = {}

    def add_ratio(name: str, slow: list[Cost], fast: list[Cost]) -> None:
        if slow and fast:
            pairs = paired_ratios([c.seconds for c in slow], [c.seconds for c in fast])
            figures[f"ratio_{name}"] = pairs.median
            figures[f"ratio_{name}_spread"] = pairs.spread

    def add(name: str, costs: list[Cost], of: Callable[[Cost], float]) -> None:
        if costs:
            sample = Sample.of([of(cost) for cost in costs])
            figures[name], figures[f"{name}_spread"] = sample.median, sample.spread

    add_ratio("vs_psql_copy", runs.psql, runs.first)
    add_ratio("rerun_same_source", runs.first, runs.same_source)
    add_ratio("rerun_same_content", runs.first, runs.same_content)
    add("rows_per_second", runs.first, lambda cost: rows / cost.seconds)
    add("psql_rows_per_second", runs.psql, lambda cost: rows / cost.seconds)
    add("changed_rows_per_second", runs.changed, lambda cost: rows / cost.seconds)
    add("difference_rows_per_second", runs.difference, lambda cost: rows / cost.seconds)
    add("wal_bytes_per_row", runs.first, lambda cost: cost.wal_bytes / rows)
    add("psql_wal_bytes_per_row", runs.psql, lambda cost: cost.wal_bytes / rows)
    unchanged = [*runs.same_source, *runs.same_content]
    add("wal_bytes_per_unchanged_row", unchanged, lambda cost: cost.wal_bytes / rows)
    for name in ("same_source", "same_content", "difference"):
        add(f"wal_bytes_per_{name}_row", getattr(runs, name), lambda cost: cost.wal_bytes / rows)
    for name, costs in (
        ("wal_bytes_per_changed_row", runs.changed_back),
        ("wal_bytes_per_changed_row_after_checkpoint", runs.changed),
    ):
        add(name, costs, lambda cost: cost.wal_bytes / files.changed_rows)
    every = [cost for name in Runs.__slots__ for cost in getattr(runs, name)]
    figures["checkpoints_during_runs"] = sum(cost.checkpoints for cost in every)
    return figures
