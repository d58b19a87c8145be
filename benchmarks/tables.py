r"""A table from one database to another: the raw path and a transform against two psql in a pipe.

Each repetition empties the targets and moves the same table in every way, in an order that turns:
`psql -c "COPY ... TO STDOUT (FORMAT binary)" | psql -c "COPY ... FROM STDIN (FORMAT binary)"`, our
raw path, our path through a function on Arrow, and the loop of the original design: fetchmany, the
same function row by row, write_row. All targets have the same columns and primary key. Targets are
compared row for row by checksum, or the run is refused.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal

import psycopg

from batch_assets.ingest.tables.run import run_transfer
from batch_assets.ingest.tables.transfer import options_of
from batch_assets.settings import LoadingSettings
from batch_assets.sources.tables.transfer import Transfer
from benchmarks.command import Command, Setting, describe_run
from benchmarks.figures import Figures, iter_turns
from benchmarks.measure import Cost, children_cpu_seconds, measure, peak_memory_mb
from benchmarks.psql_copy import Psql, find_psql
from benchmarks.server import BenchmarkServer, client_environment

SCALES = {"small": 300_000, "full": 1_500_000}

_COLUMNS = (
    "id bigint PRIMARY KEY, account integer NOT NULL, name text, day date NOT NULL, "
    "at timestamptz NOT NULL, amount numeric(20,6), ratio double precision, note text"
)
_FILL = """
INSERT INTO bench.source
SELECT g, g % 10000, 'account ' || g % 5000, DATE '2020-01-01' + (g % 1000)::integer,
       TIMESTAMPTZ '2024-01-01 00:00:00+00' + g * INTERVAL '1 second', (g % 10007) / 7.0, g * 0.5,
       CASE WHEN g % 3 = 0 THEN NULL ELSE 'note ' || g END
FROM generate_series(1, {rows}) AS g
"""
_WAYS = ("psql", "raw", "transform", "loop", "staged")
_CHECKSUM = (
    "SELECT count(*), sum(hashtext(id::text || account || coalesce(name, '') || day || at || "
    "coalesce(amount::text, '') || ratio || coalesce(note, '')))::text FROM bench.{table}"
)

# Rows of one fetch and one round of the loop, as in the original design.
_LOOP_ROWS = 5_000


def double(table):  # type: ignore[no-untyped-def]
    """The transform that is measured: an amount in another currency."""
    import pyarrow as pa
    import pyarrow.compute as pc

    place = table.schema.get_field_index("amount")
    amounts = pc.add(table["amount"], table["amount"]).cast(pa.decimal128(20, 6))
    return table.set_column(place, "amount", amounts)


@dataclass(slots=True)
class TablesBenchmark:
    """Repetitions of all ways on one server."""

    server: BenchmarkServer
    psql: Psql
    admin: psycopg.Connection
    rows: int
    costs: dict[str, list[Cost]] = field(default_factory=lambda: {way: [] for way in _WAYS})
    cpu_seconds: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in _WAYS})

    def prepare(self) -> None:
        """The source, filled and analysed, and one target for each way."""
        self.admin.execute("CREATE SCHEMA bench")
        self.admin.execute(f"CREATE TABLE bench.source ({_COLUMNS})")
        self.admin.execute(_FILL.format(rows=self.rows))
        self.admin.execute("VACUUM ANALYZE bench.source")
        for way in _WAYS:
            self.admin.execute(f"CREATE TABLE bench.{way} ({_COLUMNS}, load_id bigint)")

    def repeat(self, repetitions: int) -> None:
        """All ways in turn, after one round that nobody counts."""
        postmaster = self.server.postmaster(self.admin)
        for is_counted, turn in iter_turns(_WAYS, repetitions):
            for way in turn:
                self.admin.execute(f"TRUNCATE bench.{way}")
                children = children_cpu_seconds()
                cost = measure(self.admin, self._work(way), postmaster=postmaster)
                children = children_cpu_seconds() - children
                if is_counted:
                    self.costs[way].append(cost)
                    ours = cost.client_cpu_seconds + cost.server_cpu_seconds
                    self.cpu_seconds[way].append(ours + children)
            self._refuse_other_rows()

    def _work(self, way: str) -> Callable[[], None]:
        works: dict[str, Callable[[], None]] = {
            "psql": self._pipe,
            "raw": lambda: self._transfer("raw", {}),
            "transform": lambda: self._transfer(
                "transform", {"transform": "benchmarks.tables:double"}
            ),
            "loop": self._loop,
            "staged": lambda: self._transfer("staged", {"direct_rows": 0}),
        }
        return works[way]

    def _pipe(self) -> None:
        program = [str(self.psql.program), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
        environment = {"PATH": "/usr/bin:/bin", **client_environment(self.server.url)}
        columns = "id, account, name, day, at, amount, ratio, note"
        with subprocess.Popen(
            [*program, "-c", "COPY bench.source TO STDOUT (FORMAT binary)"],
            stdout=subprocess.PIPE,
            env=environment,
        ) as sender:
            subprocess.run(
                [*program, "-c", f"COPY bench.psql ({columns}) FROM STDIN (FORMAT binary)"],
                stdin=sender.stdout,
                env=environment,
                check=True,
            )
        if sender.returncode:
            raise RuntimeError(f"the sending psql ended with {sender.returncode}")

    def _transfer(self, target: str, changes: dict[str, object]) -> None:
        transfer_once(self.server, target, changes, self.rows)

    def _loop(self) -> None:
        columns = "id, account, name, day, at, amount, ratio, note"
        with (
            closing(self.server.connect()) as source,
            closing(self.server.connect()) as target,
            source.cursor("loop") as reader,
            target.cursor() as writer,
        ):
            reader.itersize = _LOOP_ROWS
            reader.execute(f"SELECT {columns} FROM bench.source")
            with writer.copy(f"COPY bench.loop ({columns}) FROM STDIN") as copy:
                while rows := reader.fetchmany(_LOOP_ROWS):
                    for row in rows:
                        amount = None if row[5] is None else row[5] * Decimal(2)
                        copy.write_row((*row[:5], amount, *row[6:]))
            target.commit()

    def _refuse_other_rows(self) -> None:
        sums = {way: self._checksum(way) for way in _WAYS}
        if sums["raw"] != sums["psql"] or sums["staged"] != sums["psql"]:
            raise RuntimeError(f"the raw paths and psql stored different rows: {sums}")
        if sums["transform"] != sums["loop"] or sums["loop"] == sums["psql"]:
            raise RuntimeError(f"the transform and the loop stored different rows: {sums}")

    def _checksum(self, table: str) -> tuple[object, ...]:
        row = self.admin.execute(_CHECKSUM.format(table=table)).fetchone()
        assert row is not None
        return row

    def figures(self) -> dict[str, object]:
        """Ratios paired by repetition, and rows per second."""
        found = Figures()
        pairs = {
            "raw_ratio_vs_psql_pipe": ("psql", "raw"),
            "transform_ratio_vs_psql_pipe": ("psql", "transform"),
            "ratio_vs_fetchmany_write_row": ("loop", "transform"),
            "staged_ratio_vs_psql_pipe": ("psql", "staged"),
        }
        seconds = {way: [cost.seconds for cost in costs] for way, costs in self.costs.items()}
        for name, (slow, fast) in pairs.items():
            found.add_ratio(name, seconds[slow], seconds[fast])
            if self.server.bin_dir is not None:
                # Of both servers' processes and the clients': steadier than the clock where other
                # work runs on the machine.
                found.add_ratio(f"cpu_{name}", self.cpu_seconds[slow], self.cpu_seconds[fast])
        for way in _WAYS:
            found.add(f"{way}_rows_per_second", [self.rows / each for each in seconds[way]])
        return found


def transfer_once(
    server: BenchmarkServer, target: str, changes: dict[str, object], rows: int
) -> None:
    """Move the source once, and refuse another number of rows than it has."""
    values = {"name": target, "table": "bench.source", "target": f"bench.{target}", "key": ("id",)}
    transfer = Transfer.model_validate({**values, **changes})
    options = options_of(transfer, LoadingSettings())
    [report] = run_transfer(server.connect, transfer, server.connect, options)
    if report.ledger.inserted != rows:
        raise RuntimeError(f"{target}: {report.ledger} ({report.error}), expected {rows} inserted")


def run_tables(setting: Setting[int]) -> dict[str, object]:
    """All figures of one scale, flat."""
    rows = setting.scale
    with setting.open_server() as opened:
        server, admin = opened.server, opened.admin
        psql = find_psql(server)
        if psql is None:
            raise SystemExit("psql is not on this machine; install PostgreSQL's client programs")
        benchmark = TablesBenchmark(server, psql, admin, rows)
        benchmark.prepare()
        benchmark.repeat(setting.repetitions)
        return {
            **describe_run(("psycopg", "pgpq", "pyarrow"), admin),
            "psql": psql.version,
            "rows": rows,
            **benchmark.figures(),
            **_memory(server, admin, rows),
        }


def _memory(server: BenchmarkServer, admin: psycopg.Connection, rows: int) -> dict[str, float]:
    """The peak of a fresh process for each way; the figure is the highest of them."""
    peaks: dict[str, float] = {}
    for way, changes in (
        ("raw", {}),
        ("transform", {"transform": "benchmarks.tables:double"}),
        ("staged", {"direct_rows": 0}),
    ):
        admin.execute(f"TRUNCATE bench.{way}")
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.tables"],
            input=json.dumps({"url": server.url, "target": way, "changes": changes, "rows": rows}),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        peaks[f"{way}_peak_memory_mb"] = json.loads(done.stdout)
    return {"peak_memory_mb": max(peaks.values()), **peaks}


COMMAND = Command("tables", "a table to a table against two psql in a pipe", SCALES, run_tables)


if __name__ == "__main__":
    described = json.loads(sys.stdin.read())
    transfer_once(
        BenchmarkServer(described["url"], None),
        described["target"],
        described["changes"],
        described["rows"],
    )
    sys.stdout.write(json.dumps(peak_memory_mb()))
