"""The demonstration's folder: a project of its own, with its configuration, feed and database.

    <state folder>/demo/batch_assets.toml     one feed
    <state folder>/demo/bars/                 its files, one a day
    <state folder>/demo/.batch_assets/        embedded database, logs, caches

Every command works on it that is started inside, because the configuration in force is the
nearest one and its state folder is beside it.
"""

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from batch_assets.errors import ConfigurationError
from batch_assets.ops.demo.faults import FIRST_DAY
from batch_assets.postgres.embedded import remove_server
from batch_assets.settings import CONFIG_NAME, Settings, load_settings

FEED = "us_stocks"
ASSET_KEY = ("market", FEED, "daily_bars")

# The first line of the configuration says whose folder this is; no other folder is ever deleted.
_MARK = "# Written by `batch-assets demo`, deleted by `batch-assets demo --remove`."

_CONFIGURATION = f"""\
{_MARK}
# Daily bars of five US stocks, real but for a few faults that were planted.

[dagster]
first_day = {FIRST_DAY.replace(day=1)}

[market]
default_feed = "{FEED}"

[market.feeds.{FEED}]
folder = "bars"
layout = "by_day"
files = "{{date}}.csv*"
calendar = "XNYS"
symbol = {{ exchange = "US" }}
# All days in one run: each run costs seconds, a day milliseconds.
max_partitions_per_run = 100
# A day has five rows, so that a single bad one is 20 %; the default of 1 % is for whole markets.
reject_limit_ratio = 0.4

[market.feeds.{FEED}.columns]
symbol = "Ticker"
date = "Date"
open = "Open"
high = "High"
low = "Low"
close = "Close"
volume = "Volume"
"""


@dataclass(frozen=True, slots=True)
class DemoProject:
    """Where the demonstration lives.

    Attributes:
        folder: All of it; deleted by `--remove`.
    """

    folder: Path

    @property
    def config_file(self) -> Path:
        """Its configuration."""
        return self.folder / CONFIG_NAME

    @property
    def state_dir(self) -> Path:
        """Its database, logs and caches: where any command started in the folder looks."""
        return self.folder / ".batch_assets"

    @property
    def feed_dir(self) -> Path:
        """Its files, one a day."""
        return self.folder / "bars"

    def settings(self) -> Settings:
        """Settings that no environment variable changes: always the embedded database."""
        environ = {
            "BATCH_ASSETS_CONFIG": str(self.config_file),
            "BATCH_ASSETS_HOME": str(self.state_dir),
        }
        return load_settings(environ, working_dir=self.folder)

    def is_ours(self) -> bool:
        """Whether the folder is a demonstration's, and not something else of that name."""
        try:
            with self.config_file.open(encoding="utf-8") as lines:
                return lines.readline().strip() == _MARK
        except (OSError, UnicodeDecodeError):
            return False


def project_of(settings: Settings) -> DemoProject:
    """The demonstration that belongs to the state folder of these settings."""
    return DemoProject(settings.state_dir / "demo")


def write_project(project: DemoProject, files: Mapping[str, bytes]) -> None:
    """Write configuration and feed; files that are there are kept, with a person's changes.

    Raises:
        ConfigurationError: The folder is somebody else's, or cannot be written.
    """
    try:
        if _has_content(project.folder):
            _require_ours(project)
        project.feed_dir.mkdir(parents=True, exist_ok=True)
        _write_absent(project.config_file, _CONFIGURATION.encode())
        present = {path.name for path in project.feed_dir.iterdir()}
        for name, content in files.items():
            # A day that was repaired by hand may come as .csv where .csv.gz was.
            if not present & {name, name.removesuffix(".gz")}:
                _write_absent(project.feed_dir / name, content)
    except OSError as error:
        raise ConfigurationError(
            f"{project.folder} cannot be written: {error}; expected a folder of this user; set "
            "BATCH_ASSETS_HOME to one"
        ) from error


def remove_project(project: DemoProject) -> bool:
    """Stop the demonstration's server and delete its folder.

    Returns:
        False if there was none.

    Raises:
        ConfigurationError: It is in use, it is not a demonstration's, or cannot be deleted.
    """
    if not project.folder.exists():
        return False
    _require_ours(project)
    with _nobody_uses(project):
        remove_server(project.state_dir)
        try:
            _delete(project)
        except OSError as error:
            raise ConfigurationError(
                f"{project.folder} cannot be deleted: {error}; expected a folder of this user; "
                "delete it by hand"
            ) from error
    return True


def command_in(project: DemoProject, command: str) -> str:
    """A command line that works on the demonstration when typed inside its folder."""
    seen = load_settings(working_dir=project.folder)
    own = project.settings()
    if seen.config_file == own.config_file and (seen.state_dir, seen.database) == (
        own.state_dir,
        own.database,
    ):
        return command
    # Variables of this shell point elsewhere.
    names = ("BATCH_ASSETS_CONFIG", "BATCH_ASSETS_HOME", "BATCH_ASSETS_DATABASE_URL")
    return " ".join(["env", *(f"-u {name}" for name in names), command])


def cd_command(project: DemoProject) -> str:
    """The command that enters the folder, whatever its path is made of."""
    return f"cd {shlex.quote(str(project.folder))}"


def _has_content(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is not None


def _require_ours(project: DemoProject) -> None:
    if not project.is_ours():
        raise ConfigurationError(
            f"{project.folder} holds no configuration written by the demonstration, expected one "
            "or no such folder; move the folder away, or set BATCH_ASSETS_HOME to another place"
        )


@contextmanager
def _nobody_uses(project: DemoProject) -> Iterator[None]:
    """Hold the lock a running stack holds (ops/up.py)."""
    project.state_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(project.state_dir / "up.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigurationError(
            f"the demonstration in {project.folder} is running, expected it to be stopped; "
            "end it with Ctrl-C, then try again"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _delete(project: DemoProject) -> None:
    """Delete the folder, the configuration last: it says whose folder it is until the end."""
    for path in project.folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != project.config_file:
            path.unlink()
    project.config_file.unlink()
    project.folder.rmdir()


def _write_absent(file: Path, content: bytes) -> None:
    """Write a file unless it is there; a kill leaves none or all of it."""
    if file.exists():
        return
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(file)
