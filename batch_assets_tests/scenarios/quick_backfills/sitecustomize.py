"""On PYTHONPATH, it lets the daemon of `up` look at backfills as often as the matrix does.

No other process is touched, and nothing else of the daemon.
"""

import importlib
import sys

if "dagster-daemon" in sys.orig_argv:
    from batch_assets_tests.scenarios.matrix.quick_daemon import BACKFILL_LOOK_SECONDS

    controller = importlib.import_module("dagster._daemon.controller")
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = BACKFILL_LOOK_SECONDS  # type: ignore[attr-defined]
