"""The scaffold of every benchmark: its arguments, its folder and server, its report.

What is measured belongs in the module of the benchmark; how figures are made of repetitions, in
figures.py.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil
import psycopg

from benchmarks.figures import print_figures
from benchmarks.server import BenchmarkServer, describe_machine, describe_server, open_server

REPETITIONS = 5
RESULTS_FOLDER = Path("docs") / "performance"
PEERS_FOLDER = Path(".batch_assets") / "benchmark-peers"
ScaleT = TypeVar("ScaleT")
Subcommands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no other name for it


@dataclass(frozen=True, slots=True)
class OpenServer:
    """A server with a connection that administers it.

    Attributes:
        postmaster: The server's first process; None where it is not known to be on this machine.
    """

    server: BenchmarkServer
    admin: psycopg.Connection
    postmaster: psutil.Process | None

    @property
    def postmaster_pid(self) -> int | None:
        """For another process that measures the server."""
        return self.postmaster.pid if self.postmaster else None


@dataclass(frozen=True, slots=True)
class Setting(Generic[ScaleT]):
    """What one run of a benchmark is given.

    Attributes:
        scale: How much is measured.
        repetitions: How often what is counted is done.
        folder: For files, empty; removed at the end.
        database_url: A server to measure on; None for an embedded one.
        peers_folder: Where the peers are installed.
        more: Answers to the benchmark's own options.
    """

    scale: ScaleT
    repetitions: int
    folder: Path
    database_url: str | None = None
    peers_folder: Path = PEERS_FOLDER
    more: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def open_server(self) -> Iterator[OpenServer]:
        """A migrated database of the benchmark's own; dropped at the end."""
        with (
            open_server(self.database_url, self.folder / "state") as server,
            closing(server.administer()) as admin,
        ):
            yield OpenServer(server, admin, server.postmaster(admin))


@dataclass(frozen=True, slots=True)
class Command(Generic[ScaleT]):
    """One benchmark.

    Attributes:
        name: The word after `python -m benchmarks`.
        help: One line about it.
        scales: How much is measured, by the word of `--scale`.
        measure: Gives all figures, flat.
        options: Its own options with their defaults: integers, given as `--name N`.
        pictures: Draws figures, as texts of SVG files by their names without ending.
    """

    name: str
    help: str
    scales: Mapping[str, ScaleT]
    measure: Callable[[Setting[ScaleT]], Mapping[str, object]]
    options: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    pictures: Callable[[Mapping[str, object]], Mapping[str, str]] | None = None

    def add_to(self, subcommands: "Subcommands[argparse.ArgumentParser]") -> None:
        """Make it a subcommand."""
        parser = subcommands.add_parser(self.name, help=self.help)
        add_arguments(parser)
        for name, (default, words) in self.options.items():
            parser.add_argument(f"--{name}", type=int, default=default, help=words)
        parser.set_defaults(run=self.run)

    def run(self, arguments: argparse.Namespace) -> None:
        """Measure, print, write."""
        figures = self.figures(arguments)
        print_figures(figures)
        write_figures(figures, arguments.json)
        self.write_out(figures, folder_of_results(arguments))

    def write_out(self, figures: Mapping[str, object], folder: Path | None) -> None:
        """Write figures and pictures into a folder, where one is asked for."""
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_figures(figures, folder / f"{self.name}.json")
        for name, text in (self.pictures(figures) if self.pictures else {}).items():
            (folder / f"{name}.svg").write_text(text, encoding="utf-8")

    def figures(self, arguments: argparse.Namespace) -> dict[str, object]:
        """Measure in a folder that is removed at the end."""
        with tempfile.TemporaryDirectory(prefix="batch_assets-") as folder:
            setting = Setting(
                scale=self.scales[arguments.scale],
                repetitions=arguments.repetitions,
                folder=Path(folder),
                database_url=arguments.database_url,
                peers_folder=arguments.peers.resolve(),
                more={
                    name: getattr(arguments, name, default)
                    for name, (default, _) in self.options.items()
                },
            )
            figures = self.measure(setting)
        return {"scale": arguments.scale, "repetitions": arguments.repetitions, **figures}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that all benchmarks share."""
    parser.add_argument("--scale", choices=("small", "full"), default="full", help="default: full")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help=f"write figures and pictures here; default: {RESULTS_FOLDER}, unless --json is given",
    )
    parser.add_argument("--database-url", help="a server to measure on; default: an embedded one")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="default: %(default)s")
    parser.add_argument(
        "--peers",
        type=Path,
        default=PEERS_FOLDER,
        metavar="FOLDER",
        help="where the peers are installed; default: %(default)s",
    )


def folder_of_results(arguments: argparse.Namespace) -> Path | None:
    """Where figures and pictures go; None where a file alone is wanted."""
    out: Path | None = arguments.out
    return out or (None if arguments.json else RESULTS_FOLDER)


def write_figures(figures: Mapping[str, object], file: Path | None) -> None:
    """Write flat JSON, where a file is asked for."""
    if file is not None:
        file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def describe_run(packages: Sequence[str], admin: psycopg.Connection | None) -> dict[str, object]:
    """When and where it was measured, and with which versions."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "load_average": psutil.getloadavg()[0],
        **{name: metadata.version(name) for name in packages},
        **({f"server_{k}": v for k, v in describe_server(admin).items()} if admin else {}),
    }
