"""How long the code location and the command line take to start.

Each is a fresh interpreter whose processor time is counted, because a busy machine stretches the
wall clock of one of them and not of the other. The import of Dagster and of the code location take
turns; the code location's includes Dagster's own, and building its definitions, as each process of
Dagster does, both.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.command import Command, Setting, describe_run
from benchmarks.figures import Figures, iter_turns

DAGSTER = (sys.executable, "-c", "import dagster")
CODE_LOCATION = (sys.executable, "-c", "import batch_assets.definitions")
DEFINITIONS = (
    sys.executable,
    "-c",
    "import batch_assets.definitions as location; location.build_definitions()",
)
VERSION = (sys.executable, "-m", "batch_assets.ops.cli.main", "--version")
HELP = (sys.executable, "-m", "batch_assets.ops.cli.main", "--help")
_NAMES = {
    DAGSTER: "dagster_import",
    CODE_LOCATION: "code_location_import",
    DEFINITIONS: "definitions_build",
    VERSION: "cli_version",
    HELP: "cli_start",
}


def run_startup(setting: Setting[None]) -> dict[str, object]:
    """Processor and wall-clock seconds of each start, and the ratios to Dagster's import."""
    found = Figures(describe_run(("dagster", "pyarrow", "typer"), None))
    cpu: dict[Sequence[str], list[float]] = {way: [] for way in _NAMES}
    wall: dict[Sequence[str], list[float]] = {way: [] for way in _NAMES}
    for counts, ways in iter_turns(tuple(_NAMES), setting.repetitions):
        for way in ways:
            seconds = start(way)
            if counts:
                cpu[way].append(seconds[0])
                wall[way].append(seconds[1])
    for way, name in _NAMES.items():
        found.add(f"{name}_cpu_seconds", cpu[way])
        found.add(f"{name}_seconds", wall[way])
    found.add_ratio("import_ratio_vs_dagster", cpu[CODE_LOCATION], cpu[DAGSTER])
    found.add_ratio("definitions_ratio_vs_dagster", cpu[DEFINITIONS], cpu[DAGSTER])
    return found


def start(command: Sequence[str]) -> tuple[float, float]:
    """Processor seconds and wall-clock seconds of a process, from its start to its end.

    Raises:
        subprocess.CalledProcessError: The process failed.
    """
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system
    return cpu - before.children_user - before.children_system, wall


COMMAND = Command(
    "startup",
    "importing the code location, starting the command line",
    {"small": None, "full": None},
    run_startup,
)
