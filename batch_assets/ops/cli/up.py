"""`batch-assets up`: Dagster with everything it needs, until Ctrl-C."""

import sys
from typing import Annotated

import typer

from batch_assets.ops.cli.interrupts import stop_on_signals

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def up(
    *,
    port: Annotated[
        int, typer.Option(help="Port of the UI; 0 takes a free one.", min=0, max=65535)
    ] = 3000,
    host: Annotated[
        str, typer.Option(help="Address of the UI. It has no login: keep it on loopback.")
    ] = "127.0.0.1",
    module: Annotated[
        str, typer.Option("--module-name", "-m", help="Module with the Dagster definitions.")
    ] = "batch_assets.definitions",
) -> None:
    """Start the database if needed, migrate, then run webserver, daemon and code server."""
    from batch_assets.ops.up import running_stack
    from batch_assets.settings import load_settings

    stop = stop_on_signals()
    settings = load_settings()
    if host not in _LOOPBACK:
        _say(f"anyone who reaches {host}:{port} can launch runs: the UI has no login")
    try:
        with running_stack(
            settings,
            port=port,
            host=host,
            module=module,
            stop=stop,
            tell=lambda step: _say(f"starting {step} ..."),
        ) as stack:
            sys.stdout.write(f"{stack.webserver_url}\n")
            sys.stdout.flush()
            _say(f"state in {settings.state_dir}, logs in {stack.log_dir}; Ctrl-C stops")
            stack.wait_for_stop(_say)
            _say("stopping ...")
    except KeyboardInterrupt:
        _say("stopped before it was ready")
        return
    _say("stopped")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
