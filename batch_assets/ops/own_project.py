"""A project of one's own: the three files that make a folder work, and the examples they name.

    <folder>/batch_assets.toml   feeds, landing folders, limits: every setting, commented
    <folder>/dagster.yaml        Dagster's instance: storage, limits, retention
    <folder>/workspace.yaml      what `dagster dev` and `dagster-webserver` load here
    <folder>/examples/           what the configuration reads until it is changed
    <folder>/.gitignore          keeps the state folder out of a repository

Nothing that is there is overwritten, so that a second call completes a folder that lost a file.
The folder of the demonstration is ops/demo/project.py.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batch_assets.errors import ConfigurationError
from batch_assets.settings import shipped_path

PROJECT_FILES = ("batch_assets.toml", "dagster.yaml", "workspace.yaml")
_EXAMPLES = "examples"
_IGNORED = "# The embedded database, caches, logs and reports.\n.batch_assets/\n"


@dataclass(frozen=True, slots=True)
class OwnProject:
    """What writing a project did.

    Attributes:
        folder: Absolute path of the project.
        written: Files made, relative to the folder, in the order they were made.
        kept: Files that were there and were left as they are.
    """

    folder: Path
    written: tuple[Path, ...]
    kept: tuple[Path, ...]


def write_own_project(
    folder: Path, *, with_examples: bool = True, dry_run: bool = False
) -> OwnProject:
    """Write the files of a project into a folder, which is made if it is absent.

    Args:
        folder: Any folder; files of other names in it are not touched.
        with_examples: False leaves out the example files; the feeds that read them are then
            to be replaced in batch_assets.toml.
        dry_run: Say what would be written, write nothing.

    Raises:
        ConfigurationError: The folder cannot be written, or the installation is not whole.
    """
    folder = folder.expanduser().resolve()
    written: list[Path] = []
    kept: list[Path] = []
    try:
        for name, content in _contents(with_examples=with_examples):
            if (folder / name).exists():
                kept.append(name)
                continue
            written.append(name)
            if not dry_run:
                _write_whole(folder / name, content)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename}: {error.strerror}; expected a folder that this user may write, and "
            "a whole installation; name another folder, or install batch-assets again"
        ) from error
    return OwnProject(folder, tuple(written), tuple(kept))


def _contents(*, with_examples: bool) -> Iterator[tuple[Path, bytes]]:
    if with_examples:
        examples = shipped_path(_EXAMPLES)
        for file in sorted(examples.rglob("*")):
            name = file.relative_to(examples)
            # The programs that made the examples stay with the sources.
            if file.is_file() and len(name.parts) > 1 and "__pycache__" not in name.parts:
                yield Path(_EXAMPLES) / name, file.read_bytes()
    yield Path(".gitignore"), _IGNORED.encode()
    # The configuration last: a folder that has one is complete.
    for name_ in reversed(PROJECT_FILES):
        yield Path(name_), shipped_path(name_).read_bytes()


def _write_whole(file: Path, content: bytes) -> None:
    """Write a file so that a kill leaves none or all of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(file)
