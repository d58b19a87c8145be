r"""One year of a market's day files: the core against public tools, and runs that change little.

Each repetition starts with empty tables and loads the year by every peer and by the core, in an
order that turns; then the same source again, equal content in other bytes, and one per cent
of changed rows. All sides must hold the same rows after each repetition, or the run is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from benchmarks.child import run_child
from benchmarks.command import Command, Setting, describe_run
from benchmarks.day_loads import Checksums, DayLoads
from benchmarks.figures import iter_turns
from benchmarks.load_figures import Runs, figures_of, peer_figures
from benchmarks.load_peers import Peers, open_peers
from benchmarks.market_year import DayFiles, write_changed, write_reordered, write_year
from benchmarks.pictures import draw_first_load
from benchmarks.psql_copy import PEER_TABLE
from benchmarks.real_market import SHARED_FOLDER, write_real
from benchmarks.server import empty_tables

CHANGED_RATIO = 0.01


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    symbols: int
    sessions: int


SCALES = {
    "small": Scale(symbols=5_000, sessions=25),
    "full": Scale(symbols=5_000, sessions=250),
}


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
    """Repetitions over one set of files on one server.

    Attributes:
        psql_files: What psql copies instead, where it cannot read the files themselves.
        sums: Days and checksums that each way has stored in this repetition.
    """

    loads: DayLoads
    has_psql: bool = True
    psql_files: DayFiles | None = None
    sums: dict[str, tuple[Sequence[date], Checksums]] = field(default_factory=dict)

    def repeat(self, files: Variants, repetitions: int) -> Runs:
        """All ways in turn, another one first each time, after one turn that nobody counts."""
        peers = self.loads.peers.present
        ways = ["first", *(["psql"] if self.has_psql else []), *(peer.name for peer in peers)]
        runs = Runs()
        for is_counted, turn in iter_turns(ways, repetitions):
            self._run_once(files, runs if is_counted else Runs(), turn)
        return runs

    def _run_once(self, files: Variants, runs: Runs, turn: Sequence[str]) -> None:
        """One repetition: first loads in the order of the turn, then what changes little."""
        loads = self.loads
        empty_tables(loads.admin)
        self.first_loads(files.original, runs, turn)
        rows = files.original.row_count
        runs.same_source.append(loads.ours(files.original, unchanged=rows, how="source_hash"))
        runs.same_content.append(loads.ours(files.reordered, unchanged=rows, how="content_hash"))
        forced = loads.ours(files.original, unchanged=rows, how="difference", force=True)
        runs.difference.append(forced)
        same = rows - files.changed_rows
        runs.changed.append(loads.ours(files.changed, unchanged=same))
        # The same rows once more, on pages that were changed since the last checkpoint.
        runs.changed_back.append(loads.ours(files.original, unchanged=same, checkpoint=False))

    def first_loads(self, files: DayFiles, runs: Runs, turn: Sequence[str]) -> None:
        """Each way once into empty tables, and all must have stored the same.

        Raises:
            RuntimeError: They have not.
        """
        loads, days = self.loads, files.days
        self.sums.clear()
        present = {peer.name: peer for peer in loads.peers.present}
        for way in turn:
            if way == "first":
                runs.first.append(loads.ours(files, unchanged=0))
            elif way == "psql":
                runs.psql.append(loads.psql_copy(self.psql_files or files))
                self.sums[way] = days, loads.checksums(PEER_TABLE, days)
            elif way not in loads.peers.absent:
                peer = present[way]
                cost = loads.peer(peer, files)
                if cost is not None:
                    runs.add_peer(way, cost)
                    its = days[: peer.kind.max_days]
                    self.sums[way] = its, loads.checksums(peer.kind.table, its)
        for way, (its, theirs) in self.sums.items():
            loads.refuse_other_rows(way, its, theirs)


def run_load(setting: Setting[Scale]) -> dict[str, object]:
    """First loads against peers, runs that change little, memory, and a range run of Dagster."""
    folder, cache_dir = setting.folder, setting.folder / "cache"
    with (
        setting.open_server() as opened,
        open_peers(setting.peers_folder, folder / "peers") as peers,
    ):
        loads = DayLoads.on(opened, cache_dir, peers)
        psql = loads.psql
        benchmark = LoadBenchmark(loads, has_psql=psql is not None)
        year, figures = _measure_year(setting, benchmark)
        figures.update(psql=psql.version if psql else "absent", **_real_figures(setting, loads))
        empty_tables(opened.admin)
        figures.update(run_child("memory", year, cache_dir, opened.server.url))
        more = {"home": str(folder / "home"), "repetitions": setting.repetitions}
        figures.update(
            run_child(
                "dagster", year, cache_dir, opened.server.url,
                postmaster=opened.postmaster_pid, **more,
            )
        )  # fmt: skip
    return figures


def run_rerun(setting: Setting[Scale]) -> dict[str, object]:
    """Runs that change little, without peers."""
    with setting.open_server() as opened:
        loads = DayLoads.on(opened, setting.folder / "cache")
        return _measure_year(setting, LoadBenchmark(loads, has_psql=False))[1]


def _measure_year(
    setting: Setting[Scale], benchmark: LoadBenchmark
) -> tuple[DayFiles, dict[str, object]]:
    folder, scale, loads = setting.folder, setting.scale, benchmark.loads
    year = write_year(
        folder / "year", loads.cache_dir, symbols=scale.symbols, sessions=scale.sessions
    )
    files = Variants.write(year, folder / "year-variants")
    runs = benchmark.repeat(files, setting.repetitions)
    return year, {
        **describe_run(("psycopg", "pgpq", "pyarrow"), loads.admin),
        "checkpoint_cadence": "one before each run",
        "rows": year.row_count,
        **figures_of(runs, year.row_count, files.changed_rows),
        **peer_figures(runs, year.row_count, loads.peers),
    }


def _real_figures(setting: Setting[Scale], loads: DayLoads) -> dict[str, object]:
    """The same on real files, against psql alone; nothing where they are not found."""
    if not SHARED_FOLDER.is_dir():
        return {}
    folder = setting.folder
    real = Variants.write(write_real(folder / "real"), folder / "real-variants")
    rows = real.original.row_count
    alone = LoadBenchmark(replace(loads, peers=Peers()), has_psql=loads.psql is not None)
    runs = alone.repeat(real, setting.repetitions)
    found = {f"real_{k}": v for k, v in figures_of(runs, rows, real.changed_rows).items()}
    return {**found, "real_rows": rows}


COMMAND = Command(
    "load", "day files of a market against public tools", SCALES, run_load, pictures=draw_first_load
)
RERUN = Command("rerun", "the same files again, unchanged or changed a little", SCALES, run_rerun)
