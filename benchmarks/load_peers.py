"""The peers of a first load, each in an environment of its own, as warm processes."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from benchmarks.market_year import COLUMNS
from benchmarks.peer_environment import PeerAbsent, ensure_pgloader, ensure_python
from benchmarks.psql_copy import PEER_TABLE

_CHILD = Path(__file__).with_name("load_peer_child.py")


@dataclass(frozen=True, slots=True)
class PeerKind:
    """How a peer is had and used.

    Attributes:
        requirements: What pip installs; nothing for pgloader, which Debian has.
        imports: What must be importable then.
        table: Where it loads; the keyed peer table, unless it insists on one of its own.
        max_days: So many days are loaded at most: at some thousand rows a second more of them
            would take an hour, and the figure is of one row.
    """

    requirements: tuple[str, ...]
    imports: str = ""
    table: str = PEER_TABLE
    max_days: int | None = None


PEERS: Mapping[str, PeerKind] = {
    "adbc": PeerKind(("adbc-driver-postgresql", "pyarrow"), "adbc_driver_postgresql, pyarrow"),
    "asyncpg": PeerKind(("asyncpg",), "asyncpg"),
    "to_sql": PeerKind(("pandas", "sqlalchemy", "psycopg[binary]"), "pandas, psycopg", max_days=2),
    "dlt": PeerKind(("dlt[postgres]", "pyarrow"), "dlt, pyarrow", table="benchmark_dlt.daily_bars"),
    "sling": PeerKind(("sling",), "os"),
    "pgloader": PeerKind((), max_days=5),
}


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

    def load(self, url: str, files: Sequence[Path]) -> PeerLoad:
        """Load files in their order.

        Raises:
            PeerAbsent: It could not.
        """
        asked = {
            "server": {key: str(value) for key, value in conninfo_to_dict(url).items() if value},
            "files": [str(path) for path in files], "table": self.kind.table,
            "columns": COLUMNS, "folder": str(self.folder),
        }  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return PeerLoad(**_answer_of(self.process))


@dataclass(frozen=True, slots=True)
class Peers:
    """Who takes part, and who does not and why."""

    present: list[LoadPeer] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)


@contextmanager
def open_peers(folder: Path, work_folder: Path) -> Iterator[Peers]:
    """Install peers where they are missing and start them; ended with the block."""
    peers = Peers()
    with ExitStack() as stack:
        for name, kind in PEERS.items():
            try:
                peers.present.append(_open(name, kind, folder, work_folder, stack))
            except PeerAbsent as absent:
                peers.absent[name] = str(absent)
                print(f"{name} is absent: {absent}", file=sys.stderr)
        yield peers


def _open(name: str, kind: PeerKind, folder: Path, work_folder: Path, stack: ExitStack) -> LoadPeer:
    python = Path(sys.executable)
    if kind.requirements:
        python = ensure_python(name, kind.requirements, folder, imports=kind.imports)
    else:
        ensure_pgloader(folder)
    own = work_folder / name
    own.mkdir(parents=True)
    process = stack.enter_context(
        subprocess.Popen(
            [python, _CHILD, name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(own), "RUNTIME__DLTHUB_TELEMETRY": "false"},
        )
    )
    stack.callback(process.kill)
    return LoadPeer(name, kind, str(_answer_of(process)["version"]), own, process)


def _answer_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    answer: dict[str, Any] = json.loads(line) if line else {"error": "its process ended"}
    if "error" in answer:
        raise PeerAbsent(answer["error"])
    return answer
