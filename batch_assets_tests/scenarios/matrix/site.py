"""A project folder and a database for one scenario, and the commands that run there."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from batch_assets.settings import Settings, load_settings
from batch_assets_tests.polling import wait_until
from batch_assets_tests.scenarios.matrix.planted import FIRST_DAY, LAST_DAY
from batch_assets_tests.scenarios.matrix.server import MatrixServer
from batch_assets_tests.scenarios.matrix.warm import COMMAND_SECONDS, WarmDagster

PROJECT = Path(__file__).resolve().parents[3]
FAMILY = "BATCH_ASSETS_TEST_FAMILY"

# Waiting for a dead writer's lease is what a crash costs; a real one is ten times as long.
LEASE_SECONDS = 3.0

_CONFIG = f"""
[loading]
lease_seconds = {LEASE_SECONDS}
chunk_rows = 500

[market]
default_feed = "examples"

[market.feeds.examples]
folder = "files"
layout = "by_day"
files = "{{date}}.csv"
calendar = "XSHG"
volume_unit = "lot"
amount_scale = 1000
max_partitions_per_run = {{days_per_run}}
symbol = {{ style = "cn" }}

[market.feeds.examples.columns]
date = "日期"
symbol = "股票代码"
open = "开盘价"
high = "最高价"
low = "最低价"
close = "收盘价"
pre_close = "前收盘价"
volume = "成交量(手)"
amount = "成交额(千元)"
"""
_FORCE = {"ops": {"market__examples__daily_bars": {"config": {"force": True}}}}

EXECUTORS = {
    "in_process": "batch_assets.definitions",
    "multiprocess": "batch_assets_tests.scenarios.matrix.multiprocess_definitions",
}


class Command:
    """A process that runs to its end; what it says is kept, and how much memory it took."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / f"command-{uuid.uuid4().hex[:8]}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                arguments,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.status: int | None = None
        self.peak_bytes = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    def has_ended(self) -> bool:
        """Whether it has; then its exit status and peak memory are known."""
        if self.status is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self.peak_bytes = usage.ru_maxrss * 1024
                self.process.returncode = self.status
        return self.status is not None

    def finish(self, seconds: float = COMMAND_SECONDS) -> int:
        """Its exit status, once it has ended."""
        wait_until(self.has_ended, f"the end of {self.log.name}", seconds)
        assert self.status is not None
        return self.status

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.said.splitlines()[-lines:])


class Site:
    """Where one scenario happens."""

    def __init__(
        self, folder: Path, url: str, executor: str, warm: WarmDagster, days_per_run: int
    ) -> None:
        self.folder = folder
        self.warm = warm
        self.peak_bytes = 0
        self.url = url
        self.executor = executor
        self.family = uuid.uuid4().hex
        self.fired = folder / "fired"
        self.commands: list[Command] = []
        self.extra_environment: dict[str, str] = {}
        self.fired.mkdir(parents=True)
        shutil.copy(PROJECT / "dagster.yaml", folder)
        (folder / "batch_assets.toml").write_text(
            _CONFIG.replace("{days_per_run}", str(days_per_run)), encoding="utf-8"
        )
        (folder / "force.json").write_text(json.dumps(_FORCE), encoding="utf-8")

    @property
    def module(self) -> str:
        return EXECUTORS[self.executor]

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def state_dir(self) -> Path:
        return self.folder / ".batch_assets"

    def environment(self, url: str = "", failpoints: str = "") -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "BATCH_ASSETS_DATABASE_URL": url or self.url,
            "BATCH_ASSETS_FAILPOINTS": f"{failpoints},>{self.fired}" if failpoints else "",
            FAMILY: self.family,
            **self.extra_environment,
        }

    def settings(self) -> Settings:
        return load_settings({"BATCH_ASSETS_DATABASE_URL": self.url}, working_dir=self.folder)

    def job_execute(
        self,
        *,
        failpoints: str = "",
        url: str = "",
        force: bool = False,
        days: tuple[str, str] = (FIRST_DAY, LAST_DAY),
    ) -> Command:
        """`dagster job execute` over the days, started."""
        command = Command(
            [sys.executable, "-m", "dagster", *self._arguments(self.module, force, days)],
            self.folder,
            self.environment(url, failpoints),
        )
        self.commands.append(command)
        return command

    def load_everything(self, *, force: bool = False, executor: str = "") -> None:
        """The same command, run to its good end without the cost of its imports.

        Args:
            executor: The scenario's own, unless another is named.
        """
        log = self.folder / f"load-{uuid.uuid4().hex[:8]}.log"
        module = EXECUTORS[executor or self.executor]
        arguments = self._arguments(module, force, (FIRST_DAY, LAST_DAY))
        status, peak = self.warm.run(arguments, self.folder, self.environment(), log)
        self.peak_bytes = max(self.peak_bytes, peak)
        said = log.read_text("utf-8", "replace").splitlines()
        assert status == 0, "\n".join(said[-60:])

    def _arguments(self, module: str, force: bool, days: tuple[str, str]) -> list[str]:
        tags = {
            "dagster/asset_partition_range_start": days[0],
            "dagster/asset_partition_range_end": days[1],
        }
        return [
            *("job", "execute", "-m", module, "-j", "market_sync"),
            *("--tags", json.dumps(tags)),
            *(("-c", "force.json") if force else ()),
        ]

    def query(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            cursor = conn.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str) -> int:
        ((value,),) = self.query(statement)
        return int(str(value))

    def has_fired(self, failpoint: str) -> bool:
        return (self.fired / failpoint).exists()

    def relatives(self) -> list[psutil.Process]:
        """Living processes of this site."""
        found = []
        for candidate in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if (
                    candidate.status() != psutil.STATUS_ZOMBIE
                    and candidate.environ().get(FAMILY) == self.family
                ):
                    found.append(candidate)
        return found

    def stopped(self) -> list[psutil.Process]:
        """Those that a failpoint has stopped."""
        found = []
        for process in self.relatives():
            with contextlib.suppress(psutil.Error):
                if process.status() == psutil.STATUS_STOPPED:
                    found.append(process)
        return found

    def wait_for_stop(self, seconds: float = COMMAND_SECONDS) -> psutil.Process:
        """The process that stopped itself at its failpoint."""

        def look() -> bool:
            ended = [c for c in self.commands if c.has_ended()]
            assert len(ended) < len(self.commands) or self.commands == [], ended[-1].tail()
            # A failpoint that fires says so; only then are all processes of the machine looked at.
            return any(self.fired.iterdir()) and bool(self.stopped())

        wait_until(look, "a process stops itself", seconds)
        return self.stopped()[0]

    def end_all(self) -> None:
        deadline = time.monotonic() + 30
        while (left := self.relatives()) and time.monotonic() < deadline:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            for command in self.commands:
                command.has_ended()
            time.sleep(0.05)


@contextmanager
def opened_site(
    server: MatrixServer, url: str, executor: str, *, days_per_run: int = 10
) -> Iterator[Site]:
    """A site in a folder of its own, whose processes do not outlive the block."""
    folder = server.state_dir / "sites" / uuid.uuid4().hex[:8]
    site = Site(folder, url, executor, server.warm, days_per_run)
    if server.cache is not None:
        shutil.copytree(server.cache, site.state_dir / "cache")
    try:
        yield site
    finally:
        site.end_all()
