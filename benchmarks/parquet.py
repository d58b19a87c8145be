r"""First loads of a market's day files in Parquet, against the peers that read it.

`psql \copy` takes part with the same rows as CSV, because it reads nothing else.
"""

from dataclasses import dataclass

from benchmarks.child import run_child
from benchmarks.command import Command, Setting, describe_run
from benchmarks.day_loads import DayLoads
from benchmarks.figures import iter_turns
from benchmarks.load import LoadBenchmark
from benchmarks.load_figures import Runs, figures_of, peer_figures
from benchmarks.load_peers import PEERS, open_peers
from benchmarks.market_year import write_parquet, write_year
from benchmarks.server import empty_tables


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is loaded."""

    symbols: int
    sessions: int


SCALES = {"small": Scale(5_000, 25), "full": Scale(5_000, 250)}


def run_parquet(setting: Setting[Scale]) -> dict[str, object]:
    """Ratios, rows per second and the rest of a first load; peak memory of a fresh process."""
    folder, scale = setting.folder, setting.scale
    names = [name for name, kind in PEERS.items() if kind.reads_parquet]
    with (
        setting.open_server() as opened,
        open_peers(setting.peers_folder, folder / "peers", names) as peers,
    ):
        loads = DayLoads.on(opened, folder / "cache", peers)
        year = write_year(
            folder / "csv", loads.cache_dir, symbols=scale.symbols, sessions=scale.sessions
        )
        files = write_parquet(year, folder / "parquet")
        benchmark = LoadBenchmark(loads, has_psql=loads.psql is not None, psql_files=year)
        ways = ["first", *(["psql"] if loads.psql else []), *(p.name for p in peers.present)]
        runs = Runs()
        for is_counted, turn in iter_turns(ways, setting.repetitions):
            empty_tables(opened.admin)
            benchmark.first_loads(files, runs if is_counted else Runs(), turn)
        empty_tables(opened.admin)
        return {
            **describe_run(("psycopg", "pgpq", "pyarrow"), opened.admin),
            "rows": files.row_count,
            **figures_of(runs, files.row_count, changed_rows=0),
            **peer_figures(runs, files.row_count, peers),
            **run_child("memory", files, loads.cache_dir, opened.server.url),
        }


COMMAND = Command("parquet", "Parquet files of a market against public tools", SCALES, run_parquet)
