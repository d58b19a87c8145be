"""What Dagster adds to each partition of a range run, and whether more of them cost each more.

The market is small, so that the partitions weigh more than their rows. The growth exponent of
Dagster is of the seconds it adds, or of the processor time, `partitions_exponent` of that of the
core alone (fit.py).
"""

from dataclasses import dataclass
from datetime import date

from benchmarks.child import run_child
from benchmarks.command import Command, OpenServer, Setting, describe_run
from benchmarks.figures import Figures
from benchmarks.fit import growth_exponent, last_exponent
from benchmarks.market_year import DayFiles, write_year
from benchmarks.pictures import draw_partitions

_SYMBOLS = 50
# Partitions after today do not exist; 2,500 of them have to be behind us.
_FIRST_DAY = date(2019, 1, 2)


@dataclass(frozen=True, slots=True)
class Scale:
    """Partitions of the runs, ascending, and the sessions that cover them."""

    partitions: tuple[int, ...]
    sessions: int


SCALES = {
    "small": Scale((10, 50, 250), sessions=180),
    "full": Scale((10, 50, 250, 1_000, 2_500), sessions=1_720),
}


def run_growth(setting: Setting[Scale]) -> dict[str, object]:
    """Milliseconds a partition at each size, and the exponent."""
    folder, cache_dir, scale = setting.folder, setting.folder / "cache", setting.scale
    files = write_year(
        folder / "days",
        cache_dir,
        symbols=_SYMBOLS,
        sessions=scale.sessions,
        first_day=_FIRST_DAY,
    )
    found = Figures()
    with setting.open_server() as opened:
        found.update(describe_run(("psycopg", "dagster"), opened.admin))
        added: dict[int, float] = {}
        added_cpu: dict[int, float] = {}
        core: dict[int, float] = {}
        for count in scale.partitions:
            measured = _measure(files, count, setting, opened)
            for name in ("dagster_ms_per_partition", "dagster_cpu_ms_per_partition"):
                found[f"{name}_of_{count}"] = measured[name]
                found[f"{name}_of_{count}_spread"] = measured[f"{name}_spread"]
            found.update(measured)
            added[count] = count * measured["dagster_ms_per_partition"]
            added_cpu[count] = count * measured["dagster_cpu_ms_per_partition"]
            core[count] = measured["dagster_core_cpu_seconds"]
    found["dagster_growth_exponent"] = growth_exponent(added)
    found["dagster_last_exponent"] = last_exponent(added)
    found["dagster_cpu_growth_exponent"] = growth_exponent(added_cpu)
    found["partitions_exponent"] = growth_exponent(core)
    found["partitions_last_exponent"] = last_exponent(core)
    return found


def _measure(
    files: DayFiles, count: int, setting: Setting[Scale], opened: OpenServer
) -> dict[str, float]:
    measured: dict[str, float] = run_child(
        "dagster", files, setting.folder / "cache", opened.server.url,
        home=str(setting.folder / f"home-{count}"), partitions=count,
        repetitions=setting.repetitions, postmaster=opened.postmaster_pid,
    )  # fmt: skip
    return measured


COMMAND = Command(
    "dagster",
    "a range run, and its growth with partitions",
    SCALES,
    run_growth,
    pictures=draw_partitions,
)
