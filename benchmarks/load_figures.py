"""From the costs of each way to the figures of `python -m benchmarks load`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from benchmarks.figures import Figures
from benchmarks.load_peers import PEERS, Peers
from benchmarks.measure import Cost


@dataclass(frozen=True, slots=True)
class PeerCost:
    """What one load took a peer.

    Attributes:
        rows: Loaded; a slow peer loads fewer than the others.
    """

    cost: Cost
    rows: int
    peak_memory_mb: float


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
    peers: dict[str, list[PeerCost]] = field(default_factory=dict)

    def add_peer(self, name: str, cost: PeerCost) -> None:
        """Add what a repetition took a peer."""
        self.peers.setdefault(name, []).append(cost)

    def all_costs(self) -> list[Cost]:
        """Of all ways."""
        ours = [cost for f in fields(self) if f.name != "peers" for cost in getattr(self, f.name)]
        return ours + [peer.cost for costs in self.peers.values() for peer in costs]


def figures_of(runs: Runs, rows: int, changed_rows: int) -> Figures:
    """Ratios paired by repetition, rows per second, processor time and write-ahead log."""
    found = Figures()

    def add(name: str, costs: Sequence[Cost], of: Callable[[Cost], float]) -> None:
        found.add(name, [of(cost) for cost in costs])

    seconds = {
        way: [cost.seconds for cost in getattr(runs, way)]
        for way in ("psql", "first", "same_source", "same_content")
    }
    found.add_ratio("ratio_vs_psql_copy", seconds["psql"], seconds["first"])
    # Of both sides' processes: steadier than the clock where other work runs on the machine.
    cpu_seconds = [[c.cpu_seconds for c in costs] for costs in (runs.psql, runs.first)]
    found.add_ratio("cpu_ratio_vs_psql_copy", *cpu_seconds)
    found.add_ratio("ratio_rerun_same_source", seconds["first"], seconds["same_source"])
    found.add_ratio("ratio_rerun_same_content", seconds["first"], seconds["same_content"])
    add("rows_per_second", runs.first, lambda cost: rows / cost.seconds)
    add("psql_rows_per_second", runs.psql, lambda cost: rows / cost.seconds)
    add("changed_rows_per_second", runs.changed, lambda cost: rows / cost.seconds)
    add("difference_rows_per_second", runs.difference, lambda cost: rows / cost.seconds)
    add("client_cpu_us_per_row", runs.first, lambda cost: cost.client_cpu_seconds / rows * 1e6)
    add("server_cpu_us_per_row", runs.first, lambda cost: cost.server_cpu_seconds / rows * 1e6)
    add("psql_server_cpu_us_per_row", runs.psql, lambda cost: cost.server_cpu_seconds / rows * 1e6)
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
        add(name, costs, lambda cost: cost.wal_bytes / changed_rows)
    found["checkpoints_during_runs"] = sum(cost.checkpoints for cost in runs.all_costs())
    return found


def peer_figures(runs: Runs, rows: int, peers: Peers) -> Mapping[str, object]:
    """Of every peer its ratio, or that it is absent and why; nothing without peers."""
    found = Figures()
    if not peers.present and not peers.absent:
        return found
    versions = {peer.name: peer.version for peer in peers.present}
    ours = [cost.seconds / rows for cost in runs.first]
    for name in PEERS:
        if name not in peers.absent and name not in runs.peers:
            continue  # it takes no part in this benchmark
        if name in peers.absent:
            found[f"ratio_vs_{name}"] = "absent"
            found[f"{name}_absent_because"] = peers.absent[name]
            continue
        costs = runs.peers[name]
        found.add_ratio(f"ratio_vs_{name}", [c.cost.seconds / c.rows for c in costs], ours)
        found.add_ratio(
            f"cpu_ratio_vs_{name}",
            [c.cost.cpu_seconds / c.rows for c in costs],
            [cost.cpu_seconds / rows for cost in runs.first],
        )
        found.add(f"{name}_rows_per_second", [c.rows / c.cost.seconds for c in costs])
        found.add(
            f"{name}_client_cpu_us_per_row",
            [c.cost.client_cpu_seconds / c.rows * 1e6 for c in costs],
        )
        found.add(
            f"{name}_server_cpu_us_per_row",
            [c.cost.server_cpu_seconds / c.rows * 1e6 for c in costs],
        )
        found.add(f"{name}_wal_bytes_per_row", [c.cost.wal_bytes / c.rows for c in costs])
        found[f"{name}_rows"] = costs[0].rows
        found[f"{name}_peak_memory_mb"] = max(c.peak_memory_mb for c in costs)
        found[f"{name}_version"] = versions[name]
    return found
