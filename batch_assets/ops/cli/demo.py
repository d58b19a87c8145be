"""`batch-assets demo`: the main job on real market data, and what became of every row."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from batch_assets.ops.cli.interrupts import stop_on_signals

if TYPE_CHECKING:
    from batch_assets.ops.demo.project import DemoProject
    from batch_assets.ops.demo.run import DemoResult
    from batch_assets.ops.stack import RunningStack


def demo(
    *,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete the demonstration's database and folder.")
    ] = False,
    query: Annotated[
        str | None,
        typer.Option(help="Run one read-only SQL statement on its database, and nothing else."),
    ] = None,
    keep_open: Annotated[
        bool,
        typer.Option("--keep-open/--no-keep-open", help="Leave the UI open until Ctrl-C."),
    ] = False,
    port: Annotated[
        int, typer.Option(help="Port of the UI; 0 takes a free one.", min=0, max=65535)
    ] = 0,
) -> None:
    """Load three months of real US stock prices, a few faults planted, and account for every row.

    Always uses an embedded PostgreSQL and a folder of its own, whatever is configured. Exits 0
    also with its one broken day, which is planted; 1 if anything else went wrong.
    """
    from batch_assets.ops.demo.project import project_of
    from batch_assets.settings import load_settings

    if remove and query is not None:
        raise typer.BadParameter("--remove and --query exclude each other")
    settings = load_settings()
    project = project_of(settings)
    if remove:
        _remove(project)
    elif query is not None:
        _query(project, query)
    else:
        if settings.database.url is not None:
            _say("the configured database is left alone: the demonstration uses one of its own")
        _run(project, port=port, keep_open=keep_open)


def _run(project: "DemoProject", *, port: int, keep_open: bool) -> None:
    from batch_assets.ops.demo.faults import describe_faults
    from batch_assets.ops.demo.run import prepare_demo, run_demo
    from batch_assets.ops.demo.summary import describe_next, describe_open_ui, describe_outcome

    def finish(result: "DemoResult", stack: "RunningStack") -> None:
        _print(describe_outcome(result.outcome, seconds=result.seconds))
        if keep_open:
            _print(describe_open_ui(stack.webserver_url, result.backfill_id))
            _say("Ctrl-C stops")
            stack.wait_for_stop(_say)
        _say("stopping ...")

    stop = stop_on_signals()
    files = prepare_demo(project)
    _say(f"{files} files of real prices in {project.feed_dir}, with these faults planted:")
    for line in describe_faults():
        _say(f"  {line}")
    result = run_demo(
        project,
        port=port,
        stop=stop,
        console=Console(stderr=True),
        tell=_say,
        finish=finish,
    )
    _print(describe_next(project))
    if result.surprises:
        for surprise in result.surprises:
            _say(f"unexpected: {surprise}")
        _say(f"logs are in {project.state_dir / 'logs'}\nnext: batch-assets demo --keep-open")
        raise typer.Exit(1)


def _remove(project: "DemoProject") -> None:
    from batch_assets.ops.demo.project import remove_project

    if remove_project(project):
        _say(f"removed {project.folder} and its database")
    else:
        _say(f"nothing to remove: there is no {project.folder}")


def _query(project: "DemoProject", statement: str) -> None:
    from batch_assets.ops.demo.query import read_rows

    for row in read_rows(project, statement):
        sys.stdout.write("\t".join(row) + "\n")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
