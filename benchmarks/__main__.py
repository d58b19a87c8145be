"""`python -m benchmarks <what>`: measure against public tools, print a table, write JSON."""

import argparse
from typing import Any

from benchmarks import (
    api,
    cold,
    dagster_growth,
    devices,
    documents,
    hosts,
    load,
    market,
    parquet,
    scaling,
    spreadsheets,
    startup,
    tables,
    upsert,
    wide,
    windows,
)
from benchmarks.command import Command, add_arguments, folder_of_results, write_figures
from benchmarks.figures import print_figures

COMMANDS: tuple[Command[Any], ...] = (
    load.COMMAND, load.RERUN, parquet.COMMAND, upsert.COMMAND, cold.COMMAND, windows.COMMAND,
    wide.COMMAND, scaling.COMMAND, market.COMMAND, documents.COMMAND, spreadsheets.COMMAND,
    devices.COMMAND, tables.COMMAND, dagster_growth.COMMAND, api.COMMAND, startup.COMMAND,
    hosts.COMMAND,
)  # fmt: skip
# Their figures have names that no other benchmark uses.
_WITHOUT_PREFIX = (load.COMMAND.name, dagster_growth.COMMAND.name, startup.COMMAND.name)


def run_all(arguments: argparse.Namespace) -> None:
    """One benchmark after the other; what was measured is written after each of them."""
    figures: dict[str, object] = {}
    for command in COMMANDS:
        print(f"\n== {command.name}: {command.help}", flush=True)
        found = command.figures(arguments)
        print_figures(found)
        prefix = "" if command.name in _WITHOUT_PREFIX else f"{command.name}_"
        figures.update({f"{prefix}{name}": value for name, value in found.items()})
        write_figures(figures, arguments.json)
        command.write_out(found, folder_of_results(arguments))


def build_parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    subcommands = parser.add_subparsers(required=True, metavar="WHAT")
    for command in COMMANDS:
        command.add_to(subcommands)
    every = subcommands.add_parser("all", help="all of them, one after the other")
    add_arguments(every)
    every.set_defaults(run=run_all)
    return parser


def main() -> None:
    """Run one benchmark, or all of them."""
    arguments = build_parser().parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
