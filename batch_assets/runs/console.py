"""Run one of Dagster's console commands with this interpreter.

    python -m batch_assets.runs.console dagster-daemon run

A virtual environment need not be on PATH, and `python -m` knows no public module for the daemon;
the installed entry points are found by name instead.
"""

import sys
from importlib.metadata import entry_points


def console_command(name: str, *arguments: str) -> list[str]:
    """The command line of a console script, for subprocess."""
    return [sys.executable, "-m", "batch_assets.runs.console", name, *arguments]


def main() -> None:
    """Replace the arguments by the command's own and hand over to it."""
    name = sys.argv[1]
    (entry,) = entry_points(group="console_scripts", name=name)
    sys.argv = sys.argv[1:]
    sys.exit(entry.load()())


if __name__ == "__main__":
    main()
