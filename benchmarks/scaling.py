"""Whether more rows, files or shards cost each more.

Rows are days of 20,000 rows, more of them at each size. Files are landing files of devices with 20
records each. Shards are loaded with 20,000 records for each of them. The sensor of a folder of
documents looks at files that wait, until it has seen all. All sizes take turns in each repetition;
`..._exponent` is the slope of log(cost) over log(size), of the processor time of both sides, and
`..._seconds_exponent` the same by the clock: 1 where each unit costs the same.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_assets.ingest.devices.load import DeviceOptions, load_device_files
from benchmarks.command import Command, OpenServer, Setting, describe_run
from benchmarks.day_loads import DayLoads
from benchmarks.device_records import Fleet, empty_device_tables
from benchmarks.figures import Figures, iter_turns
from benchmarks.fit import growth_exponent, last_exponent
from benchmarks.market_year import write_year
from benchmarks.measure import Cost, Sample, measure
from benchmarks.pictures import draw_scaling
from benchmarks.server import empty_tables

ROWS_OF_DAY = 20_000
RECORDS_OF_FILE = 20
_DEVICES_OF_SHARD, _ROUNDS_OF_SHARD = 500, 40
_SENSOR_DAYS = 10


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes, ascending."""

    days: tuple[int, ...]
    files: tuple[int, ...]
    shards: tuple[int, ...]
    sensor_files: tuple[int, ...]


_SENSOR_FILES = (1_000, 10_000, 100_000)
SCALES = {
    "small": Scale((5, 16, 50), (100, 1_000, 10_000), (1, 2, 4, 8), _SENSOR_FILES),
    "full": Scale(
        (5, 16, 50, 160, 500), (100, 1_000, 10_000, 100_000), (1, 2, 4, 8), _SENSOR_FILES
    ),
}

Measured = dict[int, list[Cost]]


def run_scaling(setting: Setting[Scale]) -> dict[str, object]:
    """Cost of a unit at each size, and the exponents."""
    with setting.open_server() as opened:
        found = Figures(describe_run(("psycopg", "pgpq", "pyarrow"), opened.admin))
        _add(found, "rows", _measure_rows(setting, opened))
        _add(found, "files", _measure_files(setting, opened))
        _add(found, "shards", _measure_shards(setting, opened))
        _add_sensor(found, _measure_sensor(setting, opened))
    return found


def _measure_rows(setting: Setting[Scale], opened: OpenServer) -> Measured:
    """First loads of more and more days of the same size; by rows."""
    folder, days = setting.folder, setting.scale.days
    loads = DayLoads.on(opened, folder / "cache")
    every = write_year(folder / "days", folder / "cache", symbols=ROWS_OF_DAY, sessions=days[-1])
    costs: Measured = {count * ROWS_OF_DAY: [] for count in days}
    for is_counted, turn in iter_turns(days, setting.repetitions):
        for count in turn:
            empty_tables(opened.admin)
            cost = loads.ours(every.first(count), unchanged=0)
            if is_counted:
                costs[count * ROWS_OF_DAY].append(cost)
    empty_tables(opened.admin)
    return costs


def _measure_files(setting: Setting[Scale], opened: OpenServer) -> Measured:
    """Landing files of one size each; by files."""
    fleets = {}
    for count in setting.scale.files:
        fleets[count] = Fleet(RECORDS_OF_FILE, count)
        fleets[count].write_files(setting.folder / f"files-{count}", count)

    def load(count: int) -> None:
        _load_devices(opened, setting.folder / f"files-{count}", fleets[count], shards=4)

    return _measure_devices(setting, opened, fleets, load)


def _measure_shards(setting: Setting[Scale], opened: OpenServer) -> Measured:
    """As many records for each shard; by shards."""
    fleets = {}
    for count in setting.scale.shards:
        fleets[count] = Fleet(_DEVICES_OF_SHARD * count, _ROUNDS_OF_SHARD)
        fleets[count].write_files(setting.folder / f"shards-{count}", 1)

    def load(count: int) -> None:
        _load_devices(opened, setting.folder / f"shards-{count}", fleets[count], shards=count)

    return _measure_devices(setting, opened, fleets, load)


def _measure_devices(
    setting: Setting[Scale],
    opened: OpenServer,
    fleets: Mapping[int, Fleet],
    load: Callable[[int], None],
) -> Measured:
    costs: Measured = {count: [] for count in fleets}
    for is_counted, turn in iter_turns(tuple(fleets), setting.repetitions):
        for count in turn:
            empty_device_tables(opened.admin)
            cost = measure(
                opened.admin,
                lambda count=count: load(count),
                postmaster=opened.postmaster,  # type: ignore[misc]
            )
            fleets[count].compare(opened.admin).require(f"{count}")
            if is_counted:
                costs[count].append(cost)
    return costs


def _load_devices(opened: OpenServer, root: Path, fleet: Fleet, *, shards: int) -> None:
    options = DeviceOptions(shards=shards, settle_seconds=0.0)
    report = load_device_files(opened.server.connect, root, options)
    if report.failed_shards or report.failed_files or report.ledger.read != fleet.records:
        raise RuntimeError(f"{report}, expected {fleet.records} records read")


def _add(found: Figures, name: str, costs: Measured) -> None:
    """The cost of a unit at each size, and how the cost of all of them grows."""
    seconds, cpu = {}, {}
    for count, each in costs.items():
        found.add(f"{name}_us_of_{count}", [cost.seconds / count * 1e6 for cost in each])
        found.add(f"{name}_cpu_us_of_{count}", [c.cpu_seconds / count * 1e6 for c in each])
        seconds[count] = Sample.of([cost.seconds for cost in each]).median
        cpu[count] = Sample.of([cost.cpu_seconds for cost in each]).median
    found[f"{name}_exponent"] = growth_exponent(cpu)
    found[f"{name}_last_exponent"] = last_exponent(cpu)
    found[f"{name}_seconds_exponent"] = growth_exponent(seconds)


@dataclass(frozen=True, slots=True)
class Ticks:
    """Evaluations of a sensor until it has seen every file."""

    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]


def _add_sensor(found: Figures, ticks: dict[int, list[Ticks]]) -> None:
    totals: dict[int, float] = {}
    for count, rounds in ticks.items():
        found.add(f"sensor_tick_seconds_of_{count}", [max(each.seconds) for each in rounds])
        found.add(f"sensor_tick_cpu_seconds_of_{count}", [max(each.cpu_seconds) for each in rounds])
        found[f"sensor_ticks_of_{count}"] = max(len(each.seconds) for each in rounds)
        totals[count] = Sample.of([sum(each.cpu_seconds) for each in rounds]).median
    found["sensor_files_exponent"] = growth_exponent(totals)
    found["sensor_files_last_exponent"] = last_exponent(totals)


def _measure_sensor(setting: Setting[Scale], opened: OpenServer) -> dict[int, list[Ticks]]:
    """Ticks over folders in which nothing has been looked at yet, by files."""
    ticks: dict[int, list[Ticks]] = {}
    for count in setting.scale.sensor_files:
        folder = setting.folder / f"sensor-{count}"
        _write_waiting(folder / "inbox", count)
        with _open_sensor(folder, opened.server.url) as tick:
            for number in range(setting.repetitions + 1):
                opened.admin.execute("TRUNCATE documents.files CASCADE")
                found = _tick_until_seen(tick)
                row = opened.admin.execute("SELECT count(*) FROM documents.files").fetchone()
                if row != (count,):
                    raise RuntimeError(f"the sensor has seen {row} files, expected {count}")
                if number:
                    ticks.setdefault(count, []).append(found)
        shutil.rmtree(folder)
    return ticks


def _write_waiting(root: Path, count: int) -> None:
    for day in range(_SENSOR_DAYS):
        folder = root / f"2024-09-{day + 1:02d}"
        folder.mkdir(parents=True)
        for number in range(count // _SENSOR_DAYS):
            path = folder / f"{number:05d}.txt"
            path.touch()
            # Written long ago: nobody waits for it to be complete.
            os.utime(path, (1_700_000_000, 1_700_000_000))


def _tick_until_seen(tick: Callable[[str | None], str | None]) -> Ticks:
    """A tick that runs out of time is continued by the next one."""
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    cursor: str | None = None
    while not seconds or cursor:
        began, cpu_began = time.perf_counter(), time.process_time()
        cursor = tick(cursor)
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - cpu_began)
    return Ticks(tuple(seconds), tuple(cpu_seconds))


@contextmanager
def _open_sensor(folder: Path, url: str) -> Any:
    """The shipped sensor of one source of documents, as a daemon evaluates it."""
    import dagster as dg

    from batch_assets.definitions import build_definitions
    from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
    from batch_assets.settings import load_settings

    (folder / "batch_assets.toml").write_text(
        '[documents.sources.inbox]\nurl = "inbox"\nday = "folder"\n', encoding="utf-8"
    )
    environment = {
        "BATCH_ASSETS_DATABASE_URL": url,
        "BATCH_ASSETS_HOME": str(folder / "state"),
    }
    settings = load_settings(environment, working_dir=folder)
    resources: dict[str, Any] = {
        "postgres": PostgresCopyResource(url=url, pool_min=1),
        "clock": ClockResource(),
    }
    definitions = build_definitions(settings, resources=resources)
    sensor = definitions.resolve_sensor_def("document_ingest_inbox_sensor")

    def tick(cursor: str | None) -> str | None:
        with dg.build_sensor_context(
            instance=instance, cursor=cursor, resources=resources
        ) as context:
            result = sensor(context)
        found: Sequence[Any] | str | None = getattr(result, "cursor", None)
        return found if isinstance(found, str) else None

    with dg.DagsterInstance.ephemeral() as instance:
        yield tick


COMMAND = Command(
    "scaling",
    "whether more rows, files or shards cost each more",
    SCALES,
    run_scaling,
    pictures=draw_scaling,
)
