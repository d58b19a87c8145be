"""The embedded server for a user without rights, when the tests themselves run as root."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_assets_tests.postgres.conftest import PROJECT

# The stories in which root and others differ: owners, folders, sockets, signals.
_STORIES = "share or killed or open_to_other or 200 or removed or deleted or link"


@pytest.fixture
def copied_project() -> Iterator[Path]:
    """A copy of the package and its tests that belongs to `nobody`."""
    if os.geteuid() != 0:
        pytest.skip("the tests run without rights already")
    folder = Path(tempfile.mkdtemp(prefix="batch_assets-test-"))
    for name in ("batch_assets", "batch_assets_tests", "sql", "pyproject.toml"):
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    yield folder
    shutil.rmtree(folder)


def _run_as_nobody(folder: Path, python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    user = pwd.getpwnam("nobody")
    packages = [entry for entry in sys.path if entry.endswith("-packages")]
    return subprocess.run(
        [python, *arguments],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        cwd=folder,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join([str(folder), *packages]),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _python_of_nobody(folder: Path) -> str:
    """An interpreter like ours that `nobody` may run and that finds our packages, or skip."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    system_python = shutil.which(name, path="/usr/local/bin:/usr/bin")
    for python in filter(None, (sys.executable, system_python)):
        try:
            probe = _run_as_nobody(folder, python, "-c", "import psycopg, psutil, pytest")
        except PermissionError:
            continue
        if probe.returncode == 0:
            return python
    pytest.skip(f"neither {sys.executable} nor its packages are open to other users")


@pytest.mark.long
def test_embedded_server_works_for_a_user_without_rights(copied_project: Path) -> None:
    python = _python_of_nobody(copied_project)

    result = _run_as_nobody(
        copied_project,
        python,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", _STORIES),
        f"--basetemp={copied_project / 'tmp'}",
        str(copied_project / "batch_assets_tests" / "postgres" / "test_embedded.py"),
    )

    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
