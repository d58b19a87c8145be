"""Guards: which module may import which, and that importing one does nothing."""

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import batch_assets

PROJECT = Path(__file__).resolve().parents[1]
MAX_MODULE_LINES = 400
FORBIDDEN_NAMES = {"utils", "helpers", "common", "constants", "base", "manager", "processor"}

# Run in a fresh interpreter. Everything that importing must not do raises or is counted.
_IMPORT_ALL = """
import importlib, os, socket, subprocess, sys, threading

package = sys.argv[1]
names = sys.argv[2:]
# What our dependencies do when they are imported is theirs; it is done before we look.
import dagster, dagster_postgres, pyarrow, pyarrow.compute, psycopg, psycopg_pool, pydantic
import pandas, typer, rich.console, pgpq, psutil, filelock, sqlalchemy
seen = []
in_package = os.sep + package + os.sep

def watch(event, arguments):
    # Opening and listing as such is what the import system does; configuration it does not read.
    watched = ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.mkdir")
    if event in watched or event == "open" and str(arguments[0]).endswith((".toml", ".yaml")):
        frame = sys._getframe(1)
        while frame is not None:
            if in_package in frame.f_code.co_filename:
                seen.append(f"{event} {arguments!r} at {frame.f_code.co_filename}:{frame.f_lineno}")
                break
            frame = frame.f_back

def caller_is_ours():
    frame = sys._getframe(2)
    return in_package in frame.f_code.co_filename

class WatchedEnviron(type(os.environ)):
    def __getitem__(self, key):
        if caller_is_ours():
            seen.append(f"environment variable {key} read")
        return super().__getitem__(key)
    def get(self, key, default=None):
        if caller_is_ours():
            seen.append(f"environment variable {key} read")
        return super().get(key, default)

os.environ.__class__ = WatchedEnviron
threads = threading.active_count()
sys.addaudithook(watch)
for name in names:
    importlib.import_module(name)
if threading.active_count() != threads:
    seen.append("a thread was started")
print("\\n".join(seen))
"""


def module_names() -> list[str]:
    found = pkgutil.walk_packages(batch_assets.__path__, "batch_assets.")
    return sorted(module.name for module in found)


def source_files() -> list[Path]:
    return sorted(Path(batch_assets.__file__).parent.rglob("*.py"))


def test_imports_point_down_and_only_three_packages_know_dagster() -> None:
    # A process of its own: the linter changes the import path and keeps a cache.
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 2 kept, 0 broken" in done.stdout


@pytest.mark.long
def test_importing_every_module_does_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", _IMPORT_ALL, "batch_assets", *module_names()],
        cwd=tmp_path,
        # Would be noticed by anything that reads its settings while it is imported.
        env={"PYTHONPATH": str(PROJECT), "BATCH_ASSETS_CONFIG": "/nowhere.toml"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "module",
    [
        "batch_assets.ops.cli.main",
        "batch_assets.loading.load",
        "batch_assets.ingest.market.daily_bars",
    ],
)
def test_module_below_the_assets_does_not_load_dagster(module: str) -> None:
    code = f"import sys, {module}; print([m for m in sys.modules if m.startswith('dagster')])"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"


def test_only_settings_reads_the_environment() -> None:
    # A worker writes the mark by which it is found into its own environment.
    reading = re.compile(r"os\.environ(?!\[MARK\] = )")
    readers = {
        path.name for path in source_files() if reading.search(path.read_text(encoding="utf-8"))
    }

    assert readers == {"settings.py"}


def test_private_parts_of_dagster_are_not_used() -> None:
    users = [
        path.name
        for path in source_files()
        if "dagster._" in path.read_text(encoding="utf-8").replace("`dagster._", "")
    ]

    # Backfills have no public name in Python; the module says more.
    assert users == ["dagster_backfills.py"]


def test_modules_are_short_and_named_for_what_they_hold() -> None:
    for path in source_files():
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= MAX_MODULE_LINES, f"{path} has {lines} lines"
        assert path.stem not in FORBIDDEN_NAMES, path


def test_package_initialisers_hold_a_docstring_and_no_code() -> None:
    for path in source_files():
        if path.name == "__init__.py" and path.parent != PROJECT / "batch_assets":
            text = path.read_text(encoding="utf-8").strip()
            assert text.startswith('"""'), path
            assert text.endswith('"""'), path


def test_guard_against_work_on_import_sees_it(tmp_path: Path) -> None:
    package = tmp_path / "guilty"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "module.py").write_text(
        "import os, threading\n"
        "os.environ.get('HOME')\n"
        "os.environ['PYTHONPATH']\n"
        "open('x.toml', 'w').close()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )

    done = subprocess.run(
        [sys.executable, "-B", "-c", _IMPORT_ALL, "guilty", "guilty.module"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "environment variable HOME read" in done.stdout
    assert "environment variable PYTHONPATH read" in done.stdout
    assert "x.toml" in done.stdout
    assert "a thread was started" in done.stdout
