r"""Whole processes, cold: from the start of the program until the rows are there, imports included.

The core as a script, a range run by `dagster job execute`, `psql \copy` and the tools that users
start instead take turns over the same day files. Slow tools load fewer days; all are counted by
row, and their start with them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from benchmarks.command import Command, Setting, describe_run
from benchmarks.dagster_range import write_home
from benchmarks.day_loads import Checksums, DayLoads
from benchmarks.figures import Figures, iter_turns
from benchmarks.load_peers import PEERS, TOOLS, load_in_process_of_its_own
from benchmarks.market_year import DayFiles, write_year
from benchmarks.measure import Cost, children_cpu_seconds, measure
from benchmarks.peer_environment import PeerAbsent
from benchmarks.pictures import draw_cold
from benchmarks.psql_copy import PEER_TABLE, copy_commands
from benchmarks.server import empty_tables

# The market's first day: 2,000 sessions later is still in the past.
_FIRST_DAY = date(2015, 1, 5)
_CORE = Path(__file__).with_name("cold_core.py")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is loaded."""

    symbols: int
    sessions: int


SCALES = {"small": Scale(5_000, 100), "full": Scale(5_000, 1_000)}


@dataclass(slots=True)
class ColdBenchmark:
    """Repetitions of all ways on one server.

    Attributes:
        dagster_environment: What `dagster job execute` is started with.
        costs: Of each way; processor time of the client is that of its processes.
        absent: Tools that cannot be had, with the reason.
        sums: By number of days, who stored them first, and their checksums.
    """

    loads: DayLoads
    files: DayFiles
    folder: Path
    peers_folder: Path
    dagster_environment: dict[str, str]
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    peak_memory_mb: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    sums: dict[int, tuple[str, Checksums]] = field(default_factory=dict)

    def repeat(self, repetitions: int) -> None:
        """All ways in turn, after one round that nobody counts."""
        ways = ("core", "dagster", *(["psql"] if self.loads.psql else []), *TOOLS)
        for is_counted, turn in iter_turns(ways, repetitions):
            for way in turn:
                if way not in self.absent:
                    self._measure(way, is_counted=is_counted)

    def _measure(self, way: str, *, is_counted: bool) -> None:
        table = PEERS[way].table if way in PEERS else PEER_TABLE
        days = self.files.days[: PEERS[way].max_days if way in PEERS else None]
        work = self._work(way, days)
        is_ours = way in ("core", "dagster")
        if is_ours:
            empty_tables(self.loads.admin)
        else:
            self.loads.empty(table)
        before = children_cpu_seconds()
        try:
            cost = measure(self.loads.admin, work, postmaster=self.loads.postmaster)
        except PeerAbsent as absent:
            self.absent[way] = str(absent)
            print(f"{way} is absent: {absent}", file=sys.stderr)
            return
        if is_counted:
            cpu_seconds = children_cpu_seconds() - before
            self.costs.setdefault(way, []).append(replace(cost, client_cpu_seconds=cpu_seconds))
        self.rows[way] = self.files.row_count // len(self.files.days) * len(days)
        stored = self.loads.checksums("market.daily_bars" if is_ours else table, days)
        self._compare(way, days, stored)

    def _compare(self, way: str, days: Sequence[date], stored: Checksums) -> None:
        """With what the first way that loaded as many days has stored, and with their number."""
        if stored[0] != self.rows[way]:
            raise RuntimeError(f"{way} stored {stored[0]} rows, expected {self.rows[way]}")
        expected = self.sums.setdefault(len(days), (way, stored))
        if stored != expected[1]:
            raise RuntimeError(f"{way} stored {stored}, {expected[0]} {expected[1]}")

    def _work(self, way: str, days: Sequence[date]) -> Callable[[], None]:
        works = {"core": self._core, "dagster": self._dagster, "psql": self._psql}
        return works.get(way) or (lambda: self._tool(way, days))

    def _core(self) -> None:
        described = self.files.described()
        described |= {"cache_dir": str(self.loads.cache_dir), "url": self.loads.server.url}
        self._note("core", _run([sys.executable, str(_CORE)], {}, json.dumps(described)))

    def _dagster(self) -> None:
        tags = {
            "dagster/asset_partition_range_start": self.files.days[0].isoformat(),
            "dagster/asset_partition_range_end": self.files.days[-1].isoformat(),
        }
        _run(
            [sys.executable, "-m", "dagster", "job", "execute", "-m", "batch_assets.definitions",
             "-j", "market_sync", "--tags", json.dumps(tags)],
            self.dagster_environment,
        )  # fmt: skip

    def _psql(self) -> None:
        assert self.loads.psql is not None
        self.loads.psql.run(self.loads.server, copy_commands(self.files))

    def _tool(self, way: str, days: Sequence[date]) -> None:
        loaded = load_in_process_of_its_own(
            way,
            self.peers_folder,
            self.folder / way,
            self.loads.server.url,
            [self.files.file_of(day) for day in days],
        )
        self._note(way, {"peak_memory_mb": loaded.peak_memory_mb})

    def _note(self, way: str, said: dict[str, Any]) -> None:
        peak = max(said["peak_memory_mb"], self.peak_memory_mb.get(way, 0.0))
        self.peak_memory_mb[way] = peak

    def figures(self) -> Figures:
        """Of the core against each of the others, and of the run under Dagster too."""
        found = Figures()
        seconds = {
            way: [cost.seconds / self.rows[way] for cost in costs]
            for way, costs in self.costs.items()
        }
        cpu = {
            way: [cost.cpu_seconds / self.rows[way] for cost in costs]
            for way, costs in self.costs.items()
        }
        for way in (name for name in ("psql", *TOOLS) if name not in self.absent):
            name = "psql_copy" if way == "psql" else way
            if way in seconds:
                found.add_ratio(f"ratio_vs_{name}", seconds[way], seconds["core"])
                found.add_ratio(f"dagster_ratio_vs_{name}", seconds[way], seconds["dagster"])
                found.add_ratio(f"cpu_ratio_vs_{name}", cpu[way], cpu["core"])
        for way, reason in self.absent.items():
            found[f"ratio_vs_{way}"] = "absent"
            found[f"{way}_absent_because"] = reason
        for way, costs in self.costs.items():
            rows = self.rows[way]
            found.add(f"{way}_rows_per_second", [1 / each for each in seconds[way]])
            found.add(f"{way}_process_seconds", [cost.seconds for cost in costs])
            for side in ("client", "server"):
                its = [getattr(cost, f"{side}_cpu_seconds") / rows * 1e6 for cost in costs]
                found.add(f"{way}_{side}_cpu_us_per_row", its)
            found.add(f"{way}_wal_bytes_per_row", [cost.wal_bytes / rows for cost in costs])
            found[f"{way}_rows"] = rows
            if way in self.peak_memory_mb:
                found[f"{way}_peak_memory_mb"] = self.peak_memory_mb[way]
        return found


def _run(command: Sequence[str], environment: dict[str, str], given: str = "") -> dict[str, Any]:
    """Run a program of ours and return the JSON that it prints last, if it prints any.

    Raises:
        RuntimeError: It failed.
    """
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": root, **environment},
    )
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise RuntimeError(f"{command[1:4]} ended with {done.returncode}: {said}")
    last = (done.stdout.strip().splitlines() or [""])[-1]
    found: dict[str, Any] = json.loads(last) if last.startswith("{") else {}
    return found


def run_cold(setting: Setting[Scale]) -> dict[str, object]:
    """All figures of one scale, flat."""
    folder, scale, cache_dir = setting.folder, setting.scale, setting.folder / "cache"
    sessions = setting.more.get("sessions") or scale.sessions
    with setting.open_server() as opened:
        loads = DayLoads.on(opened, cache_dir)
        files = write_year(
            folder / "year",
            cache_dir,
            symbols=scale.symbols,
            sessions=sessions,
            first_day=_FIRST_DAY,
        )
        home = write_home(folder / "home", files, cache_dir, opened.server.url)
        benchmark = ColdBenchmark(loads, files, folder / "peers", setting.peers_folder, home)
        benchmark.repeat(setting.repetitions)
        return {
            **describe_run(("psycopg", "pgpq", "pyarrow", "dagster"), opened.admin),
            "load_average_at_end": psutil.getloadavg()[0],
            "rows": files.row_count,
            **benchmark.figures(),
        }


COMMAND = Command(
    "cold",
    "whole processes, from their start to their end",
    SCALES,
    run_cold,
    options={"sessions": (0, "days of 5,000 rows; default: those of the scale")},
    pictures=draw_cold,
)
