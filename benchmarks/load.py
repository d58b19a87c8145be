r"""One year of a market's day files: the core against public tools, and runs that change little.

Each repetition starts with empty tables and loads the year by every peer and by the core, in an
order that turns; then the same source again, equal content in other bytes, and one per cent
of changed rows. All sides must hold the same rows after each repetition, or the run is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from benchmarks.child import run_child
from benchmarks.command import Command, Setting, describe_run
from benchmarks.core_load import Loaded, load_days
from benchmarks.figures import iter_turns
from benchmarks.load_figures import PeerCost, Runs, figures_of, peer_figures
from benchmarks.load_peers import LoadPeer, PeerLoad, Peers, open_peers
from benchmarks.market_year import DayFiles, write_changed, write_reordered, write_year
from benchmarks.measure import Cost, measure
from benchmarks.peer_environment import PeerAbsent
from benchmarks.psql_copy import PEER_TABLE, Psql, copy_commands, create_peer_table, find_psql
from benchmarks.real_market import SHARED_FOLDER, write_real
from benchmarks.server import BenchmarkServer, empty_tables

CHANGED_RATIO = 0.01
_DAGSTER_REPETITIONS = 3


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
        sums: Days and checksums that each way has stored in this repetition.
    """

    server: BenchmarkServer
    psql: Psql | None
    cache_dir: Path
    admin: psycopg.Connection
    postmaster: psutil.Process | None = None
    peers: Peers = field(default_factory=Peers)
    sums: dict[str, tuple[Sequence[date], tuple[object, ...]]] = field(default_factory=dict)

    def repeat(self, files: Variants, repetitions: int) -> Runs:
        """All ways in turn, another one first each time, after one turn that nobody counts."""
        ways = ["first", *(["psql"] if self.psql else []), *(p.name for p in self.peers.present)]
        runs = Runs()
        for is_counted, turn in iter_turns(ways, repetitions):
            self._run_once(files, runs if is_counted else Runs(), turn)
        return runs

    def _run_once(self, files: Variants, runs: Runs, turn: Sequence[str]) -> None:
        """One repetition: first loads in the order of the turn, then what changes little."""
        empty_tables(self.admin)
        self.sums.clear()
        present = {peer.name: peer for peer in self.peers.present}
        for way in turn:
            if way == "first":
                runs.first.append(self._load(files.original, unchanged=0))
            elif way == "psql":
                self._copy(files.original, runs)
            elif way not in self.peers.absent:
                self._load_peer(present[way], files.original, runs)
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

    def _copy(self, files: DayFiles, runs: Runs) -> None:
        assert self.psql is not None
        psql, commands = self.psql, copy_commands(files)
        self.admin.execute(f"TRUNCATE {PEER_TABLE}")
        # Our imports are warm, so the start of the client program is not counted either.
        start = measure(self.admin, lambda: psql.run(self.server, ["SELECT 1 \\g /dev/null"]))
        cost = measure(
            self.admin, lambda: psql.run(self.server, commands), postmaster=self.postmaster
        )
        runs.psql.append(replace(cost, seconds=cost.seconds - start.seconds))
        self.sums["psql"] = files.days, self._checksums(PEER_TABLE, files.days)

    def _load_peer(self, peer: LoadPeer, files: DayFiles, runs: Runs) -> None:
        days, table = files.days[: peer.kind.max_days], peer.kind.table
        rows = files.row_count // len(files.days) * len(days)
        if table == PEER_TABLE:
            self.admin.execute(f"TRUNCATE {table}")
        else:
            self.admin.execute(f"DROP SCHEMA IF EXISTS {table.split('.')[0]} CASCADE")
        paths = [files.file_of(day) for day in days]
        answers: list[PeerLoad] = []
        try:
            cost = measure(
                self.admin,
                lambda: answers.append(peer.load(self.server.url, paths)),
                postmaster=self.postmaster,
            )
        except PeerAbsent as absent:
            self.peers.absent[peer.name] = f"it failed: {absent}"
            return
        cost = replace(cost, client_cpu_seconds=answers[0].cpu_seconds)
        runs.add_peer(peer.name, PeerCost(cost, rows, answers[0].peak_memory_mb))
        self.sums[peer.name] = days, self._checksums(table, days)

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

        cost = measure(self.admin, work, checkpoint=checkpoint, postmaster=self.postmaster)
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
        for way, (days, theirs) in self.sums.items():
            ours = self._checksums("market.daily_bars", days)
            if ours != theirs:
                raise RuntimeError(f"the core stored {ours}, {way} {theirs}, expected the same")

    def _checksums(self, table: str, days: Sequence[date]) -> tuple[object, ...]:
        row = self.admin.execute(
            sql.SQL(
                "SELECT count(*), sum(volume), sum(close), sum(open + high + low + pre_close), "
                "sum(amount), sum(hashtext(symbol || trade_date)::bigint) FROM {} "
                "WHERE trade_date = ANY (%s)"
            ).format(sql.Identifier(*table.split("."))),
            (list(days),),
        ).fetchone()
        assert row is not None
        return row


def run_load(setting: Setting[Scale]) -> dict[str, object]:
    """First loads against peers, runs that change little, memory, and a range run of Dagster."""
    folder, cache_dir = setting.folder, setting.folder / "cache"
    with (
        setting.open_server() as opened,
        open_peers(setting.peers_folder, folder / "peers") as peers,
    ):
        server, admin = opened.server, opened.admin
        psql = find_psql(server)
        create_peer_table(admin)
        benchmark = LoadBenchmark(server, psql, cache_dir, admin, opened.postmaster, peers)
        year, figures = _measure_year(setting, benchmark)
        figures.update(psql=psql.version if psql else "absent", **_real_figures(setting, benchmark))
        empty_tables(admin)
        figures.update(run_child("memory", year, cache_dir, server.url))
        more = {"home": str(folder / "home"), "repetitions": _DAGSTER_REPETITIONS}
        figures.update(run_child("dagster", year, cache_dir, server.url, **more))
    return figures


def run_rerun(setting: Setting[Scale]) -> dict[str, object]:
    """Runs that change little, without peers."""
    with setting.open_server() as opened:
        benchmark = LoadBenchmark(
            opened.server, None, setting.folder / "cache", opened.admin, opened.postmaster
        )
        return _measure_year(setting, benchmark)[1]


def _measure_year(
    setting: Setting[Scale], benchmark: LoadBenchmark
) -> tuple[DayFiles, dict[str, object]]:
    folder, scale = setting.folder, setting.scale
    year = write_year(
        folder / "year", benchmark.cache_dir, symbols=scale.symbols, sessions=scale.sessions
    )
    files = Variants.write(year, folder / "year-variants")
    runs = benchmark.repeat(files, setting.repetitions)
    return year, {
        **describe_run(("psycopg", "pgpq", "pyarrow"), benchmark.admin),
        "checkpoint_cadence": "one before each run",
        "rows": year.row_count,
        **figures_of(runs, year.row_count, files.changed_rows),
        **peer_figures(runs, year.row_count, benchmark.peers),
    }


def _real_figures(setting: Setting[Scale], benchmark: LoadBenchmark) -> dict[str, object]:
    """The same on real files, against psql alone; nothing where they are not found."""
    if not SHARED_FOLDER.is_dir():
        return {}
    folder = setting.folder
    real = Variants.write(write_real(folder / "real"), folder / "real-variants")
    rows = real.original.row_count
    runs = replace(benchmark, peers=Peers()).repeat(real, setting.repetitions)
    found = {f"real_{k}": v for k, v in figures_of(runs, rows, real.changed_rows).items()}
    return {**found, "real_rows": rows}


COMMAND = Command("load", "day files of a market against public tools", SCALES, run_load)
RERUN = Command("rerun", "the same files again, unchanged or changed a little", SCALES, run_rerun)
