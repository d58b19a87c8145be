"""The command `batch-assets`: the list of commands and what a failure looks like.

Commands are thin: they read options, call ops, print. Data goes to stdout, talk to stderr.
Modules that cost time to import are imported inside the commands that need them.
"""

import logging
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Protocol, runtime_checkable

import typer

from batch_assets import __version__
from batch_assets.errors import BatchAssetsError
from batch_assets.ops.cli import (
    alerts,
    backfill,
    backfills,
    db,
    dead_letters,
    demo,
    devices,
    doctor,
    documents,
    init,
    locks,
    logs,
    plan,
    prune,
    runs,
    serve,
    spreadsheets,
    tables,
    tokens,
    up,
)
from batch_assets.ops.cli.failures import INTERRUPTED, exit_code, explain

app = typer.Typer(
    name="batch-assets",
    help="Bulk loading into PostgreSQL under Dagster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(alerts.app, name="alerts")
app.add_typer(db.app, name="db")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(devices.app, name="devices")
app.add_typer(documents.app, name="documents")
app.add_typer(plan.app, name="plan")
app.add_typer(runs.app, name="runs")
app.add_typer(spreadsheets.app, name="spreadsheets")
app.add_typer(tables.app, name="tables")
app.add_typer(tokens.app, name="tokens")
app.command("backfill")(backfill.backfill)
app.command("status")(backfills.status)
app.command("errors")(backfills.errors)
app.command("retry")(backfills.retry)
app.command("pause")(backfills.pause)
app.command("resume")(backfills.resume)
app.command("cancel")(backfills.cancel)
app.command("priority")(backfills.priority)
app.command("history")(backfills.history)
app.command("init")(init.init)
app.command("locks")(locks.locks)
app.command("logs")(logs.logs)
app.command("verify")(locks.verify)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("prune")(prune.prune)
app.command("serve")(serve.serve)
app.command("up")(up.up)


@runtime_checkable
class _UsageError(Protocol):
    """What typer raises about wrong usage; the class lives in click or, later, in typer."""

    exit_code: int

    def show(self) -> None:
        """Print usage and error to stderr."""


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit status.

    0 fine, 1 failed or the answer is "no", 2 wrong usage, 3 over the error budget, 4 partial,
    5 lease held, 6 source unavailable, 7 configuration or database, 130 interrupted.
    """
    try:
        return int(app(list(arguments), prog_name="batch-assets", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BatchAssetsError as error:
        _report(error, arguments)
        return exit_code(error)
    # The last line of defence: whatever it is, a person gets the chain of causes and a next step.
    except Exception as error:  # noqa: BLE001
        if isinstance(error, _UsageError):
            error.show()
            return error.exit_code
        _report(error, arguments)
        return 1


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"{__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log at INFO, and show tracebacks.")
    ] = False,
    # Eager: it is answered by its callback, before a command is asked for.
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )


def _report(error: BaseException, arguments: Sequence[str]) -> None:
    if {"-v", "--verbose"} & set(arguments):
        traceback.print_exception(error)
    for line in explain(error, arguments):
        sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
