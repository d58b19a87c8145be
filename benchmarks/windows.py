r"""Small windows of a table of one's own, upserted one after the other, 100 to 10,000 rows each.

By the core, all of them in one call or a call for each, and by what people write with psycopg:
COPY into a temporary table that is kept and INSERT ... ON CONFLICT, unnest of arrays, executemany.
After each turn all tables must hold the same rows, or the run is refused.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from benchmarks.command import Command, OpenServer, Setting, describe_run
from benchmarks.figures import Figures, iter_turns
from benchmarks.measure import Cost, measure, peak_memory_mb
from benchmarks.own_table import (
    SQL_TYPES,
    contract_of,
    create_table,
    key_of_rows,
    load_all,
    refuse_other_rows,
    source_of,
    with_key,
)
from benchmarks.server import BenchmarkServer, empty_tables

COLUMNS = with_key(("amount", pa.decimal128(20, 6)), ("note", pa.string()))
_WAYS = ("core", "core_calls", "temp_table", "unnest", "executemany")


@dataclass(frozen=True, slots=True)
class Scale:
    """Windows by their rows."""

    windows: Mapping[int, int]


SCALES = {
    "small": Scale({100: 100, 1_000: 50, 10_000: 10}),
    "full": Scale({100: 500, 1_000: 200, 10_000: 50}),
}


def small_window(number: int, rows: int) -> pa.Table:
    """Rows of one window; the same on every machine."""
    ids = range(rows)
    amounts = pa.array([(number * 7919 + each * 104_729) % 10**9 for each in ids], pa.int64())
    notes = [f"note {each % 977} of {number}" for each in ids]
    # An integer has up to 19 digits for Arrow, and 6 places more do not fit into 20.
    whole = amounts.cast(pa.decimal128(19, 0)).cast(COLUMNS.field("amount").type, safe=False)
    return pa.table([*key_of_rows(number, rows), whole, pa.array(notes)], schema=COLUMNS)


@dataclass(slots=True)
class SmallWindows:
    """Windows of one size, upserted in turn by every way."""

    opened: OpenServer
    rows: int
    windows: list[pa.Table]
    costs: dict[str, list[Cost]] = field(default_factory=dict)

    def repeat(self, repetitions: int) -> None:
        """All ways in turn, after one round that nobody counts."""
        admin = self.opened.admin
        for is_counted, turn in iter_turns(_WAYS, repetitions):
            for way in turn:
                empty_tables(admin)
                admin.execute(f"TRUNCATE bench.{way}")
                cost = measure(admin, self._work(way), postmaster=self.opened.postmaster)
                if is_counted:
                    self.costs.setdefault(way, []).append(cost)
            refuse_other_rows(admin, _WAYS, COLUMNS, self.rows * len(self.windows))

    def _work(self, way: str) -> Callable[[], None]:
        if way in ("core", "core_calls"):
            return lambda: self._core(way, self.rows * len(self.windows))
        works = {
            "temp_table": self._temp_table,
            "unnest": self._unnest,
            "executemany": self._executemany,
        }
        return works[way]

    def _core(self, way: str, rows: int) -> None:
        server = self.opened.server
        if way == "core":
            _load(server, way, self.windows, rows)
            return
        for number, table in enumerate(self.windows):
            _load(server, way, [table], self.rows, first=number)

    def memory_mb(self) -> float:
        """The peak of a fresh process that loads the windows in one call."""
        empty_tables(self.opened.admin)
        self.opened.admin.execute("TRUNCATE bench.core")
        described = {
            "url": self.opened.server.url,
            "rows": self.rows,
            "windows": len(self.windows),
        }
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.windows"],
            input=json.dumps(described),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return float(json.loads(done.stdout))

    def _temp_table(self) -> None:
        with self.opened.server.connect() as conn:
            conn.execute("CREATE TEMP TABLE staging (LIKE bench.temp_table) ON COMMIT DELETE ROWS")
            conn.execute("ALTER TABLE staging ALTER load_id SET DEFAULT 1")
            conn.execute("ALTER TABLE staging ALTER revision SET DEFAULT 1")
            conn.commit()
            for window in self.windows:
                with conn.cursor().copy(f"COPY staging ({_names(COLUMNS)}) FROM STDIN") as copy:
                    for row in zip(*window.to_pydict().values(), strict=True):
                        copy.write_row(row)
                conn.execute(_upsert("temp_table", f"SELECT {_names(COLUMNS)} FROM staging"))
                conn.commit()

    def _unnest(self) -> None:
        arrays = ", ".join(f"%s::{SQL_TYPES[field.type]}[]" for field in COLUMNS)
        statement = _upsert("unnest", f"SELECT * FROM unnest({arrays})")
        with self.opened.server.connect() as conn:
            for window in self.windows:
                conn.execute(statement, list(window.to_pydict().values()))
                conn.commit()

    def _executemany(self) -> None:
        places = ", ".join(["%s"] * len(COLUMNS))
        statement = _upsert("executemany", f"VALUES ({places})")
        with self.opened.server.connect() as conn:
            for window in self.windows:
                with conn.cursor() as cursor:
                    cursor.executemany(
                        statement, list(zip(*window.to_pydict().values(), strict=True))
                    )
                conn.commit()

    def add_to(self, found: Figures) -> None:
        """Rows and milliseconds a window of each way, and the ratio to the fastest peer."""
        ours = [cost.seconds for cost in self.costs["core"]]
        peers = [self.costs[way] for way in _WAYS if not way.startswith("core")]
        fastest = [min(cost.seconds for cost in turn) for turn in zip(*peers, strict=True)]
        name = f"rows_{self.rows}"
        found.add_ratio(f"{name}_ratio_vs_fastest", fastest, ours)
        cheapest = [min(cost.cpu_seconds for cost in turn) for turn in zip(*peers, strict=True)]
        found.add_ratio(
            f"{name}_cpu_ratio_vs_cheapest", cheapest, [c.cpu_seconds for c in self.costs["core"]]
        )
        for way, costs in self.costs.items():
            rows = self.rows * len(self.windows)
            found.add(f"{name}_{way}_rows_per_second", [rows / cost.seconds for cost in costs])
            found.add(
                f"{name}_{way}_ms_per_window",
                [cost.seconds / len(self.windows) * 1_000 for cost in costs],
            )
            found.add(f"{name}_{way}_cpu_us_per_row", [c.cpu_seconds / rows * 1e6 for c in costs])


def _load(
    server: BenchmarkServer, way: str, windows: Sequence[pa.Table], rows: int, first: int = 0
) -> None:
    contract = contract_of(f"bench.{way}", COLUMNS)
    sources = [
        source_of(number, lambda table=table: table)  # type: ignore[misc]
        # reason: the default is what binds the table of this turn
        for number, table in enumerate(windows, start=first)
    ]
    load_all(server, contract, sources, rows)


def _names(columns: pa.Schema) -> str:
    return ", ".join(columns.names)


def _upsert(table: str, rows: str) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in ("amount", "note"))
    return (
        f"INSERT INTO bench.{table} ({_names(COLUMNS)}) {rows} "
        f"ON CONFLICT (source, day, id) DO UPDATE SET {changes}"
    )


def run_windows(setting: Setting[Scale]) -> dict[str, object]:
    """All figures of one scale, flat."""
    with setting.open_server() as opened:
        found = Figures(describe_run(("psycopg", "pgpq", "pyarrow"), opened.admin))
        for way in _WAYS:
            create_table(opened.admin, f"bench.{way}", COLUMNS)
        for rows, count in setting.scale.windows.items():
            windows = [small_window(number, rows) for number in range(count)]
            small = SmallWindows(opened, rows, windows)
            small.repeat(setting.repetitions)
            small.add_to(found)
            found[f"rows_{rows}_peak_memory_mb"] = small.memory_mb()
    return found


COMMAND = Command("windows", "small windows of a table of one's own", SCALES, run_windows)


if __name__ == "__main__":
    asked = json.loads(sys.stdin.read())
    made = [small_window(number, asked["rows"]) for number in range(asked["windows"])]
    _load(BenchmarkServer(asked["url"], None), "core", made, asked["rows"] * len(made))
    sys.stdout.write(json.dumps(peak_memory_mb()))
