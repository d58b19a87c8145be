r"""The peer: `psql \copy` of the same day files into an equal table, one transaction a file."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.market_year import COLUMNS, DayFiles
from benchmarks.server import BenchmarkServer, client_environment

PEER_TABLE = "benchmark_peer.daily_bars"
# Of the columns that the files have; the table's own key begins with its source.
KEY = ("symbol", "trade_date")


@dataclass(frozen=True, slots=True)
class Psql:
    """The client program.

    Attributes:
        program: The binary; the server's own if it is there, else the one in PATH.
        version: What it says it is.
    """

    program: Path
    version: str

    def run(self, server: BenchmarkServer, commands: Sequence[str]) -> None:
        """Run commands in one session, each in a transaction of its own.

        Raises:
            CalledProcessError: A command failed.
        """
        subprocess.run(
            [self.program, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"],
            input="\n".join([*commands, ""]),
            env={"PATH": "/usr/bin:/bin", **client_environment(server.url)},
            text=True,
            check=True,
        )


def find_psql(server: BenchmarkServer) -> Psql | None:
    """The psql to measure against, None if this machine has none."""
    beside = server.bin_dir / "psql" if server.bin_dir else None
    found = str(beside) if beside and beside.is_file() else shutil.which("psql")
    if found is None:
        return None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    return Psql(Path(found), version.stdout.strip())


def create_peer_table(conn: psycopg.Connection) -> None:
    """A table with the columns, key, checks, defaults and partitions of market.daily_bars.

    Only what the files do not say gets a default: source and load_id.
    """
    conn.execute("CREATE SCHEMA benchmark_peer")
    conn.execute(
        "CREATE TABLE benchmark_peer.daily_bars (LIKE market.daily_bars INCLUDING ALL) "
        "PARTITION BY RANGE (trade_date)"
    )
    conn.execute(
        "ALTER TABLE benchmark_peer.daily_bars ALTER source SET DEFAULT 'benchmark', "
        "ALTER load_id SET DEFAULT 1"
    )
    partitions = conn.execute(
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits AS i "
        "JOIN pg_class AS c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = 'market.daily_bars'::regclass"
    ).fetchall()
    for name, bound in partitions:
        conn.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF benchmark_peer.daily_bars {}").format(
                sql.Identifier("benchmark_peer", name), sql.SQL(bound)
            )
        )


def copy_commands(files: DayFiles) -> list[str]:
    r"""One `\copy` a day; the files' columns are the table's."""
    columns = ", ".join(COLUMNS)
    return [
        f"\\copy {PEER_TABLE} ({columns}) FROM '{files.file_of(day)}' WITH (FORMAT csv, HEADER)"
        for day in files.days
    ]


def upsert_statement(staging: str, *, only_where_distinct: bool = False) -> str:
    """INSERT … ON CONFLICT DO UPDATE of all rows of a staging table, as a script writes it.

    Args:
        only_where_distinct: Rows that are the same already are left alone.
    """
    columns = ", ".join(COLUMNS)
    others = [name for name in COLUMNS if name not in KEY]
    changes = ", ".join(f"{name} = excluded.{name}" for name in others)
    statement = (
        f"INSERT INTO {PEER_TABLE} AS t ({columns}) SELECT {columns} FROM {staging} "
        f"ON CONFLICT (source, trade_date, symbol) DO UPDATE SET {changes}"
    )
    if only_where_distinct:
        ours, theirs = (
            ", ".join(f"{side}.{name}" for name in others) for side in ("t", "excluded")
        )
        statement += f" WHERE ({ours}) IS DISTINCT FROM ({theirs})"
    return statement


def upsert_commands(files: DayFiles, *, only_where_distinct: bool = False) -> list[str]:
    r"""One transaction a day: `\copy` into a staging table, and the upsert from it."""
    columns = ", ".join(COLUMNS)
    commands = [
        f"CREATE TEMP TABLE staging ON COMMIT DELETE ROWS AS "
        f"SELECT {columns} FROM {PEER_TABLE} LIMIT 0;"
    ]
    upsert = upsert_statement("staging", only_where_distinct=only_where_distinct)
    for day in files.days:
        commands += [
            "BEGIN;",
            f"\\copy staging FROM '{files.file_of(day)}' WITH (FORMAT csv, HEADER)",
            f"{upsert};",
            "COMMIT;",
        ]
    return commands
