"""The peers pypdf and markitdown, each in a virtual environment of its own, as warm processes."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peer_environment import PeerAbsent, ensure_python

_CHILD = Path(__file__).with_name("documents_peer_child.py")
_REQUIREMENTS = {"pypdf": ("pypdf",), "markitdown": ("markitdown[pdf]",)}


@dataclass(frozen=True, slots=True)
class PeerRun:
    """What one list of files took a peer, and the number of words in those it could read."""

    cpu_seconds: float
    seconds: float
    words: dict[Path, int]


@dataclass(slots=True)
class Peer:
    """A process that has its library imported."""

    name: str
    version: str
    process: "subprocess.Popen[str]"

    def read(self, files: Sequence[Path]) -> PeerRun:
        """Read files one after another."""
        answer = _ask(self.process, json.dumps([str(path) for path in files]))
        words = {Path(path): int(number) for path, number in answer["words"].items()}
        return PeerRun(float(answer["cpu_seconds"]), float(answer["seconds"]), words)


@contextmanager
def open_peer(name: str, folder: Path) -> Iterator[Peer | None]:
    """Install a peer where it is missing and start it; None where it cannot be installed."""
    try:
        python = ensure_python(name, _REQUIREMENTS[name], folder)
    except PeerAbsent as absent:
        print(f"{name} is left out: {absent}", file=sys.stderr)
        yield None
        return
    process = subprocess.Popen(
        [python, _CHILD, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield Peer(name, json.loads(process.stdout.readline())["version"], process)
        finally:
            process.kill()


def _ask(process: "subprocess.Popen[str]", line: str) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer
