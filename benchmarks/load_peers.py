"""The peers of a load, each in an environment of its own: as warm processes, or whole ones."""

import json
import platform
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from benchmarks.market_year import COLUMNS
from benchmarks.peer_environment import PeerAbsent, ensure_pgloader, ensure_python
from benchmarks.psql_copy import KEY, PEER_TABLE, upsert_statement

_CHILD = Path(__file__).with_name("load_peer_child.py")


@dataclass(frozen=True, slots=True)
class PeerKind:
    """How a peer is had and used.

    Attributes:
        requirements: What pip installs; nothing for pgloader, which Debian has.
        imports: What must be importable then.
        environment: Name of its virtual environment, where it shares one; else its own name.
        table: Where it loads; the keyed peer table, unless it insists on one of its own.
        max_days: So many days are loaded at most: at some thousand rows a second more of them
            would take an hour, and the figure is of one row.
        reads_parquet: Its files may be Parquet.
        can_upsert: Overwrites rows that are there.
    """

    requirements: tuple[str, ...]
    imports: str = ""
    environment: str = ""
    table: str = PEER_TABLE
    max_days: int | None = None
    reads_parquet: bool = False
    can_upsert: bool = False


# The last of sling's wheels that hold its program; newer ones fetch it from elsewhere.
_SLING = f"sling-linux-{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine(), 'none') }"
_PANDAS = ("pandas", "sqlalchemy", "psycopg[binary]")

PEERS: Mapping[str, PeerKind] = {
    "adbc": PeerKind(
        ("adbc-driver-postgresql", "pyarrow"),
        "adbc_driver_postgresql, pyarrow",
        reads_parquet=True,
    ),
    "asyncpg": PeerKind(("asyncpg",), "asyncpg", can_upsert=True),
    # DuckDB's own repository of extensions is no package registry; this wheel holds a signed one,
    # which fits one version of DuckDB.
    "duckdb": PeerKind(
        ("duckdb==1.5.5", "duckdb-extension-postgres==1.5.5"),
        "duckdb, duckdb_extension_postgres",
        reads_parquet=True,
    ),
    "pgcopy": PeerKind(
        ("pgcopy", "psycopg2-binary", "pyarrow"),
        "pgcopy, pyarrow",
        max_days=2,
        reads_parquet=True,
    ),
    "to_sql": PeerKind(_PANDAS, "pandas, psycopg", environment="to_sql", max_days=2),
    "to_sql_multi": PeerKind(_PANDAS, "pandas, psycopg", environment="to_sql", max_days=1),
    "dlt": PeerKind(
        ("dlt[postgres]", "pyarrow"),
        "dlt, pyarrow",
        table="benchmark_dlt.daily_bars",
        can_upsert=True,
    ),
    "sling": PeerKind((_SLING,), _SLING.replace("-", "_"), can_upsert=True),
    "pgloader": PeerKind((), max_days=5),
}
# Tools that people start as a process, rather than libraries that they call.
TOOLS = ("dlt", "sling", "pgloader", "to_sql", "duckdb")


@dataclass(frozen=True, slots=True)
class PeerLoad:
    """What one load took the peer's process and those it started."""

    cpu_seconds: float
    peak_memory_mb: float


@dataclass(slots=True)
class LoadPeer:
    """A process that has its library imported."""

    name: str
    kind: PeerKind
    version: str
    folder: Path
    process: "subprocess.Popen[str]"

    def load(
        self, url: str, files: Sequence[Path], *, is_upsert: bool = False, is_fresh: bool = True
    ) -> PeerLoad:
        """Load files in their order.

        Args:
            is_upsert: Rows that are there are overwritten.
            is_fresh: The table is empty, or not there.

        Raises:
            PeerAbsent: It could not.
        """
        question = _question(self.kind, self.folder, url, files, is_upsert, is_fresh)
        assert self.process.stdin is not None
        self.process.stdin.write(question)
        self.process.stdin.flush()
        return PeerLoad(**_answer_of(self.process))


def load_in_process_of_its_own(
    name: str, peers_folder: Path, folder: Path, url: str, files: Sequence[Path]
) -> PeerLoad:
    """Start a peer, load files, end it: what a user waits for.

    Raises:
        PeerAbsent: It could not.
    """
    kind = PEERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [_python_of(name, kind, peers_folder), _CHILD, name, peers_folder, "once"],
        input=_question(kind, folder, url, files, False, True),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
        env=_environment(folder),
    )
    answer: dict[str, Any] = json.loads((done.stdout.splitlines() or ["{}"])[-1])
    if done.returncode or "cpu_seconds" not in answer:
        raise PeerAbsent(answer.get("error", f"its process ended with {done.returncode}"))
    return PeerLoad(**answer)


def _question(
    kind: PeerKind, folder: Path, url: str, files: Sequence[Path], is_upsert: bool, is_fresh: bool
) -> str:
    server = {key: str(value) for key, value in conninfo_to_dict(url).items() if value}
    asked = {
        "server": server, "files": [str(path) for path in files], "table": kind.table,
        "columns": COLUMNS, "key": KEY, "folder": str(folder), "is_upsert": is_upsert,
        "is_fresh": is_fresh, "upsert": upsert_statement("staging"),
    }  # fmt: skip
    return json.dumps(asked) + "\n"


@dataclass(frozen=True, slots=True)
class Peers:
    """Who takes part, and who does not and why."""

    present: list[LoadPeer] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)


@contextmanager
def open_peers(
    folder: Path, work_folder: Path, names: Collection[str] | None = None
) -> Iterator[Peers]:
    """Install peers where they are missing and start them; ended with the block.

    Args:
        names: Those wanted; all of them for None.
    """
    peers = Peers()
    with ExitStack() as stack:
        for name, kind in PEERS.items():
            if names is not None and name not in names:
                continue
            try:
                peers.present.append(_open(name, kind, folder, work_folder, stack))
            except PeerAbsent as absent:
                peers.absent[name] = str(absent)
                print(f"{name} is absent: {absent}", file=sys.stderr)
        yield peers


def _open(name: str, kind: PeerKind, folder: Path, work_folder: Path, stack: ExitStack) -> LoadPeer:
    python = _python_of(name, kind, folder)
    own = work_folder / name
    own.mkdir(parents=True)
    process = stack.enter_context(
        subprocess.Popen(
            [python, _CHILD, name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_environment(own),
        )
    )
    stack.callback(process.kill)
    return LoadPeer(name, kind, str(_answer_of(process)["version"]), own, process)


def _python_of(name: str, kind: PeerKind, folder: Path) -> Path:
    """The interpreter that has the peer; installed where it is missing."""
    if kind.requirements:
        environment = kind.environment or name
        return ensure_python(environment, kind.requirements, folder, imports=kind.imports)
    ensure_pgloader(folder)
    return Path(sys.executable)


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "RUNTIME__DLTHUB_TELEMETRY": "false"}


def _answer_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    answer: dict[str, Any] = json.loads(line) if line else {"error": "its process ended"}
    if "error" in answer:
        raise PeerAbsent(answer["error"])
    return answer
