"""Virtual environments of peers, one each, made when they are first asked for."""

import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

_INSTALL_SECONDS = 600


class PeerAbsent(Exception):
    """A peer cannot be had on this machine; the message says why."""


def ensure_python(
    name: str, requirements: Sequence[str], folder: Path, *, imports: str | None = None
) -> Path:
    """The Python of a peer's own environment, installed from PyPI where it is missing.

    Raises:
        PeerAbsent: It cannot be installed.
    """
    python = folder / name / "bin" / "python"
    check = [python, "-c", f"import {imports or name}"]
    if python.is_file() and not subprocess.run(check, capture_output=True, check=False).returncode:
        return python
    venv.create(folder / name, with_pip=True)
    command = [python, "-m", "pip", "install", "--quiet", *requirements]
    try:
        done = subprocess.run(
            command, check=False, timeout=_INSTALL_SECONDS, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        raise PeerAbsent(f"pip took more than {_INSTALL_SECONDS} seconds") from None
    if done.returncode:
        raise PeerAbsent(f"pip: {_last_line(done.stderr)}")
    return python


def ensure_pgloader(folder: Path) -> None:
    """Pgloader of Debian, unpacked into a folder of its own; the system stays as it is.

    Raises:
        PeerAbsent: No Debian, or its archive cannot be reached.
    """
    home = folder / "pgloader"
    if (home / "usr" / "bin" / "pgloader").is_file():
        return
    home.mkdir(parents=True, exist_ok=True)
    packages = ("pgloader", "libsybdb5", "freetds-common")
    try:
        subprocess.run(
            ["apt-get", "download", *packages], cwd=home, check=True, capture_output=True, text=True
        )
        for package in home.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, home], check=True, capture_output=True)
    except FileNotFoundError as exc:
        raise PeerAbsent(f"{exc.filename} is not on this machine") from None
    except subprocess.CalledProcessError as exc:
        raise PeerAbsent(f"apt-get download: {_last_line(str(exc.stderr))}") from None


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
