"""Dagster's daemon, looking at backfills every two seconds where its own looks every thirty.

Run as `python -m batch_assets_tests.scenarios.matrix.quick_daemon HOME`. What a scenario waits for
is mostly the next look of that loop, whose interval Dagster has no setting for. Everything else is
the daemon that users run.
"""

import importlib
import sys
from importlib.metadata import entry_points

BACKFILL_LOOK_SECONDS = 2


def main() -> None:
    """Run the daemon for the workspace of that DAGSTER_HOME until it is ended."""
    controller = importlib.import_module("dagster._daemon.controller")
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = BACKFILL_LOOK_SECONDS  # type: ignore[attr-defined]
    (entry,) = entry_points(group="console_scripts", name="dagster-daemon")
    sys.argv = ["dagster-daemon", "run", "-w", f"{sys.argv[1]}/workspace.yaml"]
    sys.exit(entry.load()())


if __name__ == "__main__":
    main()
