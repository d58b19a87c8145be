"""The same files again, and with a little changed, against the upserts that people write.

Each repetition every way loads the year and then loads it again: unchanged, with 1 % new rows in
each day, with 1 % changed rows in each day, and with late corrections, 1 % of the rows of the
oldest tenth of the days. Nobody is told which days are worth looking at. After each step all ways
must hold the same rows, or the run is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.child import run_child
from benchmarks.command import Command, Setting, describe_run
from benchmarks.day_loads import Checksums, DayLoads
from benchmarks.figures import Figures, iter_turns
from benchmarks.load_peers import PEERS, Peers, open_peers
from benchmarks.market_year import (
    DayFiles,
    write_changed,
    write_reordered,
    write_without,
    write_year,
)
from benchmarks.measure import Cost
from benchmarks.pictures import draw_reload
from benchmarks.psql_copy import PEER_TABLE
from benchmarks.server import empty_tables

RATIO = 0.01
STEPS = ("unchanged", "new", "changed", "late")
_PSQL = ("psql", "psql_where_distinct")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is loaded."""

    symbols: int
    sessions: int


SCALES = {"small": Scale(5_000, 20), "full": Scale(5_000, 100)}


@dataclass(frozen=True, slots=True)
class Deliveries:
    """The year as it is loaded first, and as it comes again.

    Attributes:
        base: The first load; 1 % of the rows are not there yet.
        reordered: The same rows in the opposite order.
        steps: What is loaded after it, in this order.
        touched: Rows new or changed at each step.
    """

    base: DayFiles
    reordered: DayFiles
    steps: Mapping[str, DayFiles]
    touched: Mapping[str, int]

    @classmethod
    def write(cls, year: DayFiles, folder: Path) -> "Deliveries":
        """Derive them from a year."""
        base, new_rows = write_without(year, folder / "base", ratio=RATIO)
        changed, changed_rows = write_changed(year, folder / "changed", ratio=RATIO)
        oldest = year.days[: max(1, len(year.days) // 10)]
        late, late_rows = write_changed(changed, folder / "late", ratio=RATIO, only=oldest)
        return cls(
            base,
            write_reordered(base, folder / "reordered"),
            {"unchanged": base, "new": year, "changed": changed, "late": late},
            {"unchanged": 0, "new": new_rows, "changed": changed_rows, "late": late_rows},
        )


@dataclass(slots=True)
class UpsertBenchmark:
    """Repetitions of all ways on one server.

    Attributes:
        costs: Of each way and step.
        sums: What each way has stored after each step of this repetition.
        peak_memory_mb: The most that a peer's process ever had; psql is not asked.
    """

    loads: DayLoads
    files: Deliveries
    costs: dict[tuple[str, str], list[Cost]] = field(default_factory=dict)
    sums: dict[tuple[str, str], Checksums] = field(default_factory=dict)
    peak_memory_mb: dict[str, float] = field(default_factory=dict)

    def repeat(self, repetitions: int) -> None:
        """All ways in turn, after one round that nobody counts."""
        psql = _PSQL if self.loads.psql else ()
        ways = ("core", *psql, *(peer.name for peer in self.loads.peers.present))
        for is_counted, turn in iter_turns(ways, repetitions):
            self.sums.clear()
            for way in turn:
                if way in self.loads.peers.absent:
                    continue
                costs = self._run_core() if way == "core" else self._run_peer(way)
                if is_counted:
                    for step, cost in costs.items():
                        self.costs.setdefault((way, step), []).append(cost)
            self._refuse_other_rows()

    def _run_core(self) -> dict[str, Cost]:
        loads, files = self.loads, self.files
        empty_tables(loads.admin)
        loads.ours(files.base, unchanged=0)
        rows = files.base.row_count
        costs = {"same_content": loads.ours(files.reordered, unchanged=rows, how="content_hash")}
        # The other bytes were the newest; these are the ones that are known from here on.
        loads.ours(files.base, unchanged=rows)
        for step, delivered in files.steps.items():
            unchanged = delivered.row_count - files.touched[step]
            how = "source_hash" if step == "unchanged" else None
            costs[step] = loads.ours(delivered, unchanged=unchanged, how=how)
            self.sums["core", step] = loads.checksums("market.daily_bars", delivered.days)
        return costs

    def _run_peer(self, way: str) -> dict[str, Cost]:
        load, table = self._loader(way)
        self.loads.empty(table)
        costs: dict[str, Cost] = {}
        if load(self.files.base, True) is None:
            return costs
        for step, delivered in self.files.steps.items():
            cost = load(delivered, False)
            if cost is None:
                return {}
            costs[step] = cost
            self.sums[way, step] = self.loads.checksums(table, delivered.days)
        return costs

    def _loader(self, way: str) -> tuple[Callable[[DayFiles, bool], Cost | None], str]:
        """How a way loads files, fresh or again, and the table it loads into."""
        if way in _PSQL:
            distinct = way != "psql"
            return (
                lambda files, _: self.loads.psql_upsert(files, only_where_distinct=distinct)
            ), PEER_TABLE
        [peer] = [each for each in self.loads.peers.present if each.name == way]

        def load(files: DayFiles, is_fresh: bool) -> Cost | None:
            loaded = self.loads.peer(peer, files, is_upsert=True, is_fresh=is_fresh)
            if loaded is None:
                return None
            peak = max(loaded.peak_memory_mb, self.peak_memory_mb.get(way, 0.0))
            self.peak_memory_mb[way] = peak
            return loaded.cost

        return load, peer.kind.table

    def _refuse_other_rows(self) -> None:
        for (way, step), stored in self.sums.items():
            if stored != self.sums["core", step]:
                raise RuntimeError(
                    f"after {step} the core has stored {self.sums['core', step]}, {way} {stored}; "
                    "expected the same"
                )

    def figures(self) -> Figures:
        """Of each step the ratio to every way and to the fastest, and what it costs."""
        found = Figures()
        for step in STEPS:
            self._add_step(found, step)
        same_content = [cost.seconds for cost in self.costs["core", "same_content"]]
        fastest = self._fastest("unchanged")
        found.add_ratio("ratio_rerun_same_content_vs_upsert", fastest, same_content)
        found["ratio_rerun_vs_upsert"] = found.get("unchanged_ratio_vs_fastest", "absent")
        found["ratio_rerun_vs_upsert_spread"] = found.get("unchanged_ratio_vs_fastest_spread", "")
        for name, peak in self.peak_memory_mb.items():
            found[f"{name}_peak_memory_mb"] = peak
        for name, reason in self.loads.peers.absent.items():
            found[f"unchanged_ratio_vs_{name}"] = "absent"
            found[f"{name}_absent_because"] = reason
        return found

    def _add_step(self, found: Figures, step: str) -> None:
        delivered = self.files.steps[step]
        rows, touched = delivered.row_count, self.files.touched[step]
        found[f"{step}_rows"], found[f"{step}_touched_rows"] = rows, touched
        ours = self.costs["core", step]
        found.add_ratio(
            f"{step}_ratio_vs_fastest", self._fastest(step), [cost.seconds for cost in ours]
        )
        cheapest = [min(cost.cpu_seconds for cost in turn) for turn in self._turns(step)]
        found.add_ratio(
            f"{step}_cpu_ratio_vs_cheapest", cheapest, [cost.cpu_seconds for cost in ours]
        )
        for way in self._ways(step):
            costs = self.costs[way, step]
            found.add(f"{step}_{way}_rows_per_second", [rows / cost.seconds for cost in costs])
            found.add(f"{step}_{way}_cpu_us_per_row", [c.cpu_seconds / rows * 1e6 for c in costs])
            found.add(f"{step}_{way}_wal_bytes_per_row", [c.wal_bytes / rows for c in costs])
            if way != "core":
                seconds = [cost.seconds for cost in costs]
                found.add_ratio(f"{step}_ratio_vs_{way}", seconds, [cost.seconds for cost in ours])
                cpu_seconds = [cost.cpu_seconds for cost in costs]
                found.add_ratio(
                    f"{step}_cpu_ratio_vs_{way}", cpu_seconds, [cost.cpu_seconds for cost in ours]
                )

    def core_memory_mb(self) -> float:
        """The higher peak of two fresh processes: a first load, and one that changes rows."""
        loads = self.loads
        empty_tables(loads.admin)
        peaks = [
            run_child("memory", files, loads.cache_dir, loads.server.url)["peak_memory_mb"]
            for files in (self.files.base, self.files.steps["changed"])
        ]
        return max(peaks)

    def _ways(self, step: str) -> list[str]:
        return [way for way, its_step in self.costs if its_step == step]

    def _fastest(self, step: str) -> Sequence[float]:
        """Of each repetition the seconds of the fastest peer in it."""
        return [min(cost.seconds for cost in turn) for turn in self._turns(step)]

    def _turns(self, step: str) -> list[tuple[Cost, ...]]:
        """Of each repetition the costs of the peers."""
        peers = [self.costs[way, step] for way in self._ways(step) if way != "core"]
        return list(zip(*peers, strict=True))


def run_upsert(setting: Setting[Scale]) -> dict[str, object]:
    """All figures of one scale, flat."""
    folder, scale = setting.folder, setting.scale
    names = [name for name, kind in PEERS.items() if kind.can_upsert]
    with (
        setting.open_server() as opened,
        open_peers(setting.peers_folder, folder / "peers", names) as peers,
    ):
        loads = DayLoads.on(opened, folder / "cache", peers)
        year = write_year(
            folder / "year", loads.cache_dir, symbols=scale.symbols, sessions=scale.sessions
        )
        benchmark = UpsertBenchmark(loads, Deliveries.write(year, folder / "deliveries"))
        benchmark.repeat(setting.repetitions)
        return {
            **describe_run(("psycopg", "pgpq", "pyarrow"), opened.admin),
            "psql": loads.psql.version if loads.psql else "absent",
            **_versions(peers),
            **benchmark.figures(),
            "peak_memory_mb": benchmark.core_memory_mb(),
        }


def _versions(peers: Peers) -> dict[str, str]:
    return {f"{peer.name}_version": peer.version for peer in peers.present}


COMMAND = Command(
    "upsert",
    "the same files again, against upserts of peers",
    SCALES,
    run_upsert,
    pictures=draw_reload,
)
