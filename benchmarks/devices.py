r"""Records of devices: landing files over four shards, and the continuous mode under faults.

Each repetition empties the tables and loads the same files in every way, in an order that turns:
four shards, one shard, and the loop of the original design (json.loads, INSERT ... ON CONFLICT in
batches of 250 rows) on the first of the files. After each load the tables are compared with what
was sent, row for row, value for value, or the run is refused.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from batch_assets.ingest.devices.load import DeviceOptions, load_device_files
from batch_assets.postgres import embedded
from benchmarks.command import Command, Setting, describe_run
from benchmarks.device_records import Fleet, empty_device_tables
from benchmarks.devices_continuous import run_continuous
from benchmarks.figures import Figures, iter_turns
from benchmarks.measure import Cost, measure, peak_memory_mb
from benchmarks.server import BenchmarkServer


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is loaded."""

    devices: int
    rounds: int
    files: int
    continuous_seconds: int


SCALES = {"small": Scale(5_000, 40, 4, 20), "full": Scale(5_000, 200, 8, 60)}
_WAYS = ("files", "one_shard", "insert_loop")

# Rows of one statement and one transaction, as in the original design.
_LOOP_ROWS = 250
_INSERT = """
INSERT INTO bench.records (device_sn, measured_at, heart_rate_bpm, spo2_pct, temperature_celsius,
                           systolic_mmhg, diastolic_mmhg, steps, sleep_minutes, load_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 1)
ON CONFLICT (device_sn, measured_at) DO UPDATE SET steps = excluded.steps
"""


@dataclass(slots=True)
class DevicesBenchmark:
    """Repetitions of all ways on one server."""

    server: BenchmarkServer
    admin: psycopg.Connection
    root: Path
    scale: Scale
    costs: dict[str, list[Cost]] = field(default_factory=lambda: {way: [] for way in _WAYS})

    @property
    def fleet(self) -> Fleet:
        """Who sends."""
        return Fleet(self.scale.devices, self.scale.rounds)

    def prepare(self) -> None:
        """The files, and the table of the loop."""
        self.fleet.write_files(self.root, self.scale.files)
        self.admin.execute("CREATE SCHEMA bench")
        self.admin.execute("CREATE TABLE bench.records (LIKE devices.records INCLUDING ALL)")

    def repeat(self, repetitions: int) -> None:
        """All ways in turn, after one round that nobody counts."""
        postmaster = self.server.postmaster(self.admin)
        for is_counted, turn in iter_turns(_WAYS, repetitions):
            for way in turn:
                empty_device_tables(self.admin)
                self.admin.execute("TRUNCATE bench.records")
                cost = measure(self.admin, self._work(way), postmaster=postmaster)
                if is_counted:
                    self.costs[way].append(cost)
                if way != "insert_loop":
                    self.fleet.compare(self.admin).require(way)

    def _work(self, way: str) -> Callable[[], None]:
        works: dict[str, Callable[[], None]] = {
            "files": lambda: self._load(4),
            "one_shard": lambda: self._load(1),
            "insert_loop": self._insert_loop,
        }
        return works[way]

    def _load(self, shards: int) -> None:
        options = DeviceOptions(shards=shards, settle_seconds=0.0)
        report = load_device_files(self.server.connect, self.root, options)
        if report.failed_shards or report.failed_files or report.ledger.read != self.fleet.records:
            raise RuntimeError(f"{report}, expected {self.fleet.records} records read")

    def _insert_loop(self) -> None:
        names = ("timestamp", "heart_rate", "blood_oxygen", "temperature", "pressure_high",
                 "pressure_low", "step", "sleep")  # fmt: skip
        with (
            closing(self.server.connect()) as conn,
            conn.cursor() as cursor,
            self._loop_file.open(encoding="utf-8") as file,
        ):
            rows: list[tuple[object, ...]] = []
            for line in file:
                body = json.loads(line)
                rows.append((body["device_sn"], *(body["main_data"][name] for name in names)))
                if len(rows) == _LOOP_ROWS:
                    cursor.executemany(_INSERT, rows)
                    conn.commit()
                    rows = []
            cursor.executemany(_INSERT, rows)
            conn.commit()

    @property
    def _loop_file(self) -> Path:
        return self.root / "000000.ndjson"

    @property
    def _loop_records(self) -> int:
        return self.scale.devices * (self.scale.rounds // self.scale.files)

    def figures(self) -> dict[str, object]:
        """Records per second, ratios paired by repetition, and processor time of a record."""
        records = dict.fromkeys(_WAYS, self.fleet.records)
        records["insert_loop"] = self._loop_records
        seconds = {
            way: [cost.seconds / records[way] for cost in costs]
            for way, costs in self.costs.items()
        }
        names = {way: f"{way}_records_per_second" for way in _WAYS}
        names["files"] = "file_records_per_second"
        found = Figures()
        for way, name in names.items():
            found.add(name, [1 / each for each in seconds[way]])
        for way in ("one_shard", "insert_loop"):
            found.add_ratio(f"ratio_vs_{way}", seconds[way], seconds["files"])
        for side in ("client", "server"):
            cpu = [getattr(cost, f"{side}_cpu_seconds") for cost in self.costs["files"]]
            found.add(
                f"{side}_cpu_us_per_record", [each / self.fleet.records * 1e6 for each in cpu]
            )
        wal = [cost.wal_bytes / self.fleet.records for cost in self.costs["files"]]
        found.add("wal_bytes_per_record", wal)
        return found


def _continuous(
    server: BenchmarkServer, admin: psycopg.Connection, folder: Path, scale: Scale, is_ours: bool
) -> dict[str, object]:
    """Seconds until records are visible, and what became of all of them."""
    empty_device_tables(admin)
    state_dir = folder / "state"

    def restart() -> None:
        embedded.stop_server(state_dir)
        embedded.ensure_server(state_dir)

    seen = run_continuous(server, folder, scale.continuous_seconds, restart if is_ours else None)
    return {
        "continuous_records": seen.truth.expected,
        "continuous_records_per_second": seen.accepted_per_second,
        "continuous_worker_cpu_us_per_record": seen.worker_cpu_us,
        "continuous_server_cpu_us_per_record": seen.server_cpu_us,
        "continuous_p50_seconds": _percentile(seen.calm, 0.5),
        "continuous_p95_seconds": _percentile(seen.calm, 0.95),
        "continuous_p99_seconds": _percentile(seen.calm, 0.99),
        "continuous_probes": len(seen.calm),
        "continuous_p50_seconds_with_faults": _percentile(seen.all, 0.5),
        "continuous_p95_seconds_with_faults": _percentile(seen.all, 0.95),
        "continuous_longest_seconds_with_faults": seen.all[-1],
        "continuous_kills": 1,
        "continuous_restarts": int(is_ours),
        "requests_sent_again": seen.sent_again,
        "lost": seen.truth.lost,
        "doubled": seen.truth.doubled,
        "out_of_order": seen.truth.out_of_order,
    }


def _percentile(ascending: Sequence[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def run_devices(setting: Setting[Scale]) -> dict[str, object]:
    """All figures of one scale, flat."""
    folder, scale = setting.folder, setting.scale
    with setting.open_server() as opened:
        server, admin = opened.server, opened.admin
        benchmark = DevicesBenchmark(server, admin, folder / "landing", scale)
        benchmark.prepare()
        benchmark.repeat(setting.repetitions)
        return {
            **describe_run(("psycopg", "pgpq", "pyarrow"), admin),
            "records": benchmark.fleet.records,
            "devices": scale.devices,
            **benchmark.figures(),
            **_continuous(server, admin, folder, scale, setting.database_url is None),
            "peak_memory_mb": peak_memory_mb(),
        }


COMMAND = Command("devices", "records of devices, from files and as posted", SCALES, run_devices)
