"""`python -m benchmarks <what>`: measure against public tools, print a table, write JSON."""

import argparse

from benchmarks import devices, documents, load, market, spreadsheets, tables


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    subcommands = parser.add_subparsers(required=True, metavar="WHAT")
    load.add_command(subcommands)
    market.add_command(subcommands)
    spreadsheets.add_command(subcommands)
    tables.add_command(subcommands)
    documents.add_command(subcommands)
    devices.add_command(subcommands)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
