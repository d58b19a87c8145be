"""What Dagster adds to each partition of a range run, and whether more of them cost each more.

The market is small, so that the partitions weigh more than their rows. The growth exponent is the
slope of the straight line through the logarithms of partitions and added seconds: 1 where each
partition costs the same however many there are.
"""

import math
import statistics
from dataclasses import dataclass

from benchmarks.child import run_child
from benchmarks.command import Command, Setting, describe_run
from benchmarks.figures import Figures
from benchmarks.market_year import DayFiles, write_year

_SYMBOLS = 50
# The rows differ little between repetitions, and every run writes events: three are enough.
_REPETITIONS = 3


@dataclass(frozen=True, slots=True)
class Scale:
    """Partitions of the runs, ascending, and the sessions that cover them."""

    partitions: tuple[int, ...]
    sessions: int


SCALES = {
    "small": Scale((30, 90, 250), sessions=180),
    "full": Scale((50, 250, 1_000), sessions=700),
}


def run_growth(setting: Setting[Scale]) -> dict[str, object]:
    """Milliseconds a partition at each size, and the exponent."""
    folder, cache_dir, scale = setting.folder, setting.folder / "cache", setting.scale
    files = write_year(folder / "days", cache_dir, symbols=_SYMBOLS, sessions=scale.sessions)
    found = Figures()
    with setting.open_server() as opened:
        found.update(describe_run(("psycopg", "dagster"), opened.admin))
        added: dict[int, float] = {}
        for count in scale.partitions:
            measured = _measure(files, count, setting, opened.server.url)
            found[f"dagster_ms_per_partition_of_{count}"] = measured["dagster_ms_per_partition"]
            found.update(measured)
            added[count] = count * measured["dagster_ms_per_partition"]
    found["dagster_growth_exponent"] = growth_exponent(added)
    return found


def _measure(files: DayFiles, count: int, setting: Setting[Scale], url: str) -> dict[str, float]:
    measured: dict[str, float] = run_child(
        "dagster", files, setting.folder / "cache", url,
        home=str(setting.folder / f"home-{count}"), partitions=count,
        repetitions=min(setting.repetitions, _REPETITIONS),
    )  # fmt: skip
    return measured


def growth_exponent(added: dict[int, float]) -> float:
    """The slope of log(cost) over log(count).

    Raises:
        RuntimeError: A cost is not above 0: noise was larger than what is measured.
    """
    if min(added.values()) <= 0:
        raise RuntimeError(f"{added} by partitions, expected costs above 0; measure again")
    return statistics.linear_regression(
        [math.log(count) for count in added], [math.log(cost) for cost in added.values()]
    ).slope


COMMAND = Command("dagster", "a range run, and its growth with partitions", SCALES, run_growth)
