"""Backfills launched as Dagster's own pages launch them, seen and steered by an operator here.

Webserver, daemon, code server and runs are the real ones.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy
from typing import Any

import psycopg
import pytest

from batch_assets.ops.cli.main import run
from batch_assets.ops.stack import RunningStack
from batch_assets.ops.up import running_stack
from batch_assets.runs.graphql import post_query
from batch_assets_tests.defs.market_files import Market, day_text
from batch_assets_tests.polling import wait_until

PROJECT = Path(__file__).resolve().parents[2]
DAYS = [f"2024-09-{day}" for day in range(23, 28)]
BROKEN = DAYS[2]

# What the pages send.
_LAUNCH = """
mutation LaunchPartitionBackfill($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


class Site(Market):
    """A project whose operator uses the command line."""

    capsys: pytest.CaptureFixture[str]

    def ask(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command with --json; its lines."""
        self.capsys.readouterr()
        assert run([*arguments, "--json"]) == 0
        return [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]

    def say(self, *arguments: str, status: int = 0) -> str:
        """Run a command; what it says."""
        self.capsys.readouterr()
        assert run(list(arguments)) == status
        said = self.capsys.readouterr()
        return said.out + said.err

    def states(self) -> dict[str, str]:
        """By Dagster's first id and feed."""
        return {
            f"{ids} {feed}": str(state)
            for ids, feed, state in self.rows("SELECT adopted_from, feed, state FROM ops.backfills")
        }


@pytest.fixture
def site(
    postgres: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Site:
    made = Site(tmp_path, postgres, tmp_path / ".batch_assets")
    made.capsys = capsys
    copy(PROJECT / "dagster.yaml", tmp_path)
    for feed, calendar in {"cn": "XSHG", "us": "XNYS"}.items():
        made.add_feed(feed, calendar, max_partitions_per_run="2")
        for day in DAYS:
            text = day_text(day, 3)
            made.write(feed, day, text if feed == "cn" else text.replace(".SH", ""))
    made.write("cn", BROKEN, day_text(BROKEN, 4, bad=4))
    settings = {
        "BATCH_ASSETS_CONFIG": str(tmp_path / "batch_assets.toml"),
        "BATCH_ASSETS_HOME": str(made.state_dir),
        "BATCH_ASSETS_DATABASE_URL": postgres,
        "LANG": "C.UTF-8",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return made


@contextmanager
def started(site: Site) -> Iterator[RunningStack]:
    """Without its daemon, which looks at backfills when it starts and then every 30 seconds."""
    with running_stack(site.settings, with_daemon=False) as stack:
        yield stack


def launch(stack: RunningStack, days: list[str], *feeds: str) -> str:
    chosen = [{"path": ["market", feed, "daily_bars"]} for feed in feeds]
    params = {"assetSelection": chosen, "partitionNames": days, "tags": []}
    answer = post_query(stack.webserver_url, _LAUNCH, {"backfillParams": params})
    launched = answer["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


def launch_by_command(stack: RunningStack, job: str, days: list[str]) -> str:
    command = ["dagster", "job", "backfill", "-w", str(stack.home / "workspace.yaml"), "-j", job]
    said = subprocess.run(
        [sys.executable, "-m", *command, "--partitions", ",".join(days), "--noprompt"],
        env={**os.environ, "DAGSTER_HOME": str(stack.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    [launched] = re.findall(r"Launched backfill job `(\w+)`", said)
    return str(launched)


@pytest.mark.long
def test_what_dagsters_pages_launch_is_seen_from_its_launch_to_its_summary(site: Site) -> None:
    with started(site) as stack:
        one = launch(stack, DAYS, "cn")
        both = launch(stack, DAYS[:2], "cn", "us")
        by_job = launch_by_command(stack, "market_sync_us", DAYS[2:4])
        stack.start_daemon()
        wait_until(
            lambda: (
                site.states()
                == {
                    f"{one} cn": "partial",
                    f"{both} cn": "success",
                    f"{both} us": "success",
                    f"{by_job} us": "success",
                }
            ),
            "all have ended",
            240,
        )

    listed = {(item["dagster_backfill_ids"][0], item["feed"]): item for item in site.ask("history")}
    assert len(listed) == 4
    assert {item["requested_by"] for item in listed.values()} == {"dagster"}
    number = listed[one, "cn"]["backfill_id"]
    (progress,) = site.ask("status", str(number))
    assert (progress["success"], progress["failed"], progress["total"]) == (4, 1, 5)
    assert progress["rows_inserted"] + progress["rows_unchanged"] == 12
    said = site.say("status", str(number), "--lang", "zh")
    assert "⚠️ 批量同步完成: 成功4, 失败1, 跳过0, 耗时" in said
    assert BROKEN in site.say("errors", str(number), status=1)
    assert "partition" in {line["event"] for line in site.ask("logs", str(number))}
    (adopted,) = site.ask("history", str(number))
    assert (adopted["actor"], adopted["action"]) == ("dagster", "backfill.adopt")
    assert site.stored_days("us") == dict.fromkeys(DAYS[:4], 3)


@pytest.mark.long
def test_pause_resume_and_cancel_reach_what_dagsters_pages_launched(site: Site) -> None:
    days = DAYS[:2] + DAYS[3:]
    with started(site) as stack, psycopg.connect(site.url) as blocker:
        one = launch(stack, days, "cn")
        other = launch(stack, days, "us")
        # Every writer of both feeds waits for these rows, as behind a long migration.
        blocker.execute(
            "INSERT INTO market.daily_bars (source, symbol, trade_date, volume, load_id)"
            " SELECT source, symbol, day::date, 1, 0 FROM unnest(%s::text[]) AS day,"
            " (VALUES ('cn', '600000.SH'), ('us', '600000.US')) AS v (source, symbol)",
            [days],
        )
        stack.start_daemon()
        numbers = {}
        wait_until(
            lambda: site.rows("SELECT FROM ops.loads WHERE state = 'running'") != [],
            "runs are writing",
            120,
        )
        wait_until(lambda: len(site.states()) == 2, "both have numbers", 60)
        for item in site.ask("history"):
            numbers[item["dagster_backfill_ids"][0]] = str(item["backfill_id"])
        assert site.say("pause", numbers[one]) == f"backfill {numbers[one]} is pausing\n"
        assert site.say("cancel", numbers[other]) == f"backfill {numbers[other]} is canceling\n"
        wait_until(
            lambda: site.rows("SELECT FROM ops.backfill_segments WHERE held_at IS NOT NULL") != [],
            "a run has seen the pause, or was taken out of the queue",
            60,
        )
        blocker.rollback()
        wait_until(
            lambda: site.states() == {f"{one} cn": "paused", f"{other} us": "canceled"},
            "one is paused, the other canceled",
            180,
        )
        (before,) = site.ask("status", numbers[one])
        assert before["running"] == 0
        site.say("resume", numbers[one])
        wait_until(lambda: site.states()[f"{one} cn"] == "success", "it has ended", 240)

    (after,) = site.ask("status", numbers[one])
    assert (after["success"], after["total"]) == (len(days), len(days))
    assert len(after["backfill"]["dagster_backfill_ids"]) == 2
    assert site.stored_days("cn") == dict.fromkeys(days, 3)
