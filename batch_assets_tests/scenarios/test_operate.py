"""The day of an operator, told once by the command line and once by the HTTP API, side by side.

Launch a range, watch it, pause it, go on, kill its worker, see it recover, read what went wrong,
mend the file, retry, read the summary and who did what. `up` and `serve` are the real ones; each
worker stops right before each of its commits, and goes on when the story lets it (operate_site.py).
"""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import psutil
import pytest

from batch_assets.ops.cli.main import run
from batch_assets.runs.backfill_gate import ASK_EVERY_SECONDS
from batch_assets_tests.polling import wait_until
from batch_assets_tests.scenarios.operate_site import (
    BY_API,
    BY_COMMAND,
    CUT_OFF,
    DAYS,
    SYMBOLS,
    Story,
)

# What promise P6 gives, measured from the crash.
HEALED_SECONDS = 60.0


@pytest.fixture
def story(postgres_empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    made = Story(tmp_path / "project", postgres_empty)
    made.prepare()
    for name in ("BATCH_ASSETS_CONFIG", "BATCH_ASSETS_HOME", "BATCH_ASSETS_DATABASE_URL", "LANG"):
        monkeypatch.setenv(name, made.environment()[name])
    yield made
    for process in made.relatives():
        with suppress(psutil.NoSuchProcess):
            process.kill()


class Api:
    """A client, and the live progress of one backfill it listens to."""

    def __init__(self, root: str, token: str) -> None:
        self._client = httpx.Client(
            base_url=root, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60
        )
        self.told: list[dict[str, Any]] = []

    def get(self, path: str) -> Any:
        return self._client.get(f"/api/v1/backfills{path}").raise_for_status().json()

    def post(self, path: str, **body: object) -> Any:
        answer = self._client.post(f"/api/v1/backfills{path}", json=body or None)
        return answer.raise_for_status().json()

    def listen(self, number: int) -> threading.Thread:
        def read() -> None:
            path = f"/api/v1/backfills/{number}/events"
            # Where the story fails, the service ends before the stream does.
            with suppress(httpx.TransportError), self._client.stream("GET", path) as response:
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        self.told.append(json.loads(line[6:]))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        self._client.close()


@contextmanager
def served(story: Story, capsys: pytest.CaptureFixture[str]) -> Iterator[Api]:
    """`serve` in a process, and a client with a token of scope launch."""
    capsys.readouterr()
    assert run(["tokens", "create", "mei", "--scope", "launch"]) == 0
    token = capsys.readouterr().out.strip()
    with story.command("serve", "--port", "0") as process:
        assert process.stderr is not None
        root = process.stderr.readline().split()[0].rstrip("/")
        wait_until(lambda: answers(f"{root}/readyz"), "serve answers", 60)
        api = Api(root, token)
        yield api
        api.close()


def answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url, trust_env=False).status_code == 200
    return False


def ask(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> list[Any]:
    """Run a command with --json; its lines."""
    capsys.readouterr()
    assert run([*arguments, "--json"]) == status
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def say(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Run a command; what it says."""
    capsys.readouterr()
    assert run(list(arguments)) == status
    said = capsys.readouterr()
    return said.out + said.err


@pytest.mark.crash
def test_operators_day_by_command_and_by_api(
    story: Story, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    book, report = tmp_path / "errors.xlsx", tmp_path / "junit.xml"
    with story.command("up", "--port", "0") as up, story.hand():
        assert up.stdout is not None
        assert up.stdout.readline().startswith("http://"), up.communicate()[1]
        with served(story, capsys) as api:
            followed = ["--from", DAYS[0], "--to", DAYS[-1], "--feed", BY_COMMAND]
            with story.command(
                "backfill", "market", *followed, "--json", "--junit", str(report)
            ) as follower:
                wait_until(lambda: 1 in story.states(), "the command has launched", 60)
                launched = api.post("", first=DAYS[0], last=DAYS[-1], feed=BY_API)
                assert (launched["backfill"]["backfill_id"], launched["is_new"]) == (2, True)
                listener = api.listen(2)

                pause_and_resume(story, api, capsys)
                healed_seconds = kill_both(story)
                story.let_go()
                events = [
                    json.loads(line)
                    for line in follower.communicate(timeout=400)[0].split("\n")[:-1]
                ]
                listener.join(60)
            story.wait_for_states("partial", 1, 2)

            assert healed_seconds < HEALED_SECONDS
            assert follower.returncode == 4
            check_told(events, api.told)
            check_junit(report)
            check_errors(api, capsys, book)

            story.mend()
            assert say(capsys, "retry", "--failed", "1", "--detach").split()[0] == "3"
            assert api.post("/2/retry")["backfill"]["retry_of"] == 2
            story.wait_for_states("success", 3, 4)

            check_summary(api, capsys)
            check_audit(story, api, capsys)
        check_rows(story)
        assert ask(capsys, "verify") == []
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
    wait_until(lambda: story.relatives() == [], "all have gone", 30)


def pause_and_resume(story: Story, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    story.wait_for_both("a day of each is about to be committed")
    assert say(capsys, "pause", "1") == "backfill 1 is pausing\n"
    assert api.post("/2/pause")["phase"] == "pausing"
    # Runs ask whether they may go on once a second; until then more days would be read.
    paused_at = time.monotonic()
    wait_until(lambda: time.monotonic() - paused_at > ASK_EVERY_SECONDS, "the runs will ask")
    story.let_go()
    story.wait_for_states("paused", 1, 2)
    story.hold()

    # Days being loaded ended, and no other was begun.
    (by_command,), by_api = ask(capsys, "status", "1"), api.get("/2")
    for progress in (by_command, by_api):
        assert progress["backfill"]["phase"] == "paused"
        assert (progress["running"], progress["eta"]) == (0, None)
        assert 0 < progress["success"] < len(DAYS) - 1
    assert "paused" in say(capsys, "status")

    assert say(capsys, "resume", "1") == "backfill 1 is paused\n"
    api.post("/2/resume")


def kill_both(story: Story) -> float:
    """Kill the two workers, and see both backfills go on; seconds until nothing is held by them."""
    victims = story.wait_for_both("both go on, in new runs")
    for pid in victims.values():
        os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    left = (
        "SELECT run_id FROM ops.run_workers AS w JOIN dagster.runs AS r USING (run_id)"
        " WHERE w.pid = ANY(%s) AND (r.status = 'STARTED'"
        " OR EXISTS (SELECT FROM ops.leases AS l WHERE strpos(l.holder, w.run_id) > 0))"
    )
    pids = list(victims.values())
    wait_until(lambda: not story.query(left, pids), "nothing is held", 2 * HEALED_SECONDS)
    healed_seconds = time.monotonic() - killed_at
    assert not set(story.wait_for_both("the runs were started again").values()) & set(pids)
    return healed_seconds


def check_told(events: list[dict[str, Any]], told: list[dict[str, Any]]) -> None:
    """The follower and the listener heard the same story, to its end."""
    assert events[0]["event"] == "launched"
    errors = [event for event in events if event["event"] == "error"]
    assert [error["partition_key"] for error in errors] == [CUT_OFF]
    for heard in (events, told):
        assert {event["version"] for event in heard} == {1}
        moved = [event for event in heard if event["event"] in ("progress", "ended")]
        assert {"running", "pausing", "paused"} <= {one["backfill"]["phase"] for one in moved}
        end = heard[-1]
        assert (end["event"], end["backfill"]["state"]) == ("ended", "partial")
        outcomes = (end["success"], end["failed"], end["rows_rejected"])
        assert outcomes == (len(DAYS) - 1, 1, 1)
        assert (end["done"], end["total"]) == (len(DAYS), len(DAYS))
        # Dagster's own: one until the pause, one from then on.
        assert len(end["backfill"]["dagster_backfill_ids"]) == 2


def check_junit(report: Path) -> None:
    (suite,) = ET.parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == (str(len(DAYS)), "1")
    (failed,) = [case for case in suite if case.find("failure") is not None]
    assert failed.get("name") == CUT_OFF


def check_errors(api: Api, capsys: pytest.CaptureFixture[str], book: Path) -> None:
    (by_command,) = ask(capsys, "errors", "1", "--xlsx", str(book), status=1)
    (by_api,) = api.get("/2/errors")["errors"]
    for error in (by_command, by_api):
        assert (error["partition_key"], error["state"]) == (CUT_OFF, "failed")
        assert f"{CUT_OFF}.csv" in error["message"]
    from openpyxl import load_workbook

    days, reasons = (list(sheet.values) for sheet in load_workbook(book).worksheets[:2])
    assert CUT_OFF in str(days)
    assert "unparsable_number" in str(reasons)


def check_summary(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "status", "3", "--lang", "zh")
    assert "✅ 批量同步完成: 成功1, 失败0, 跳过0, 耗时" in said
    assert "success 11, failed 1, skipped 0" in say(capsys, "status", "1")
    listed = [(one["backfill_id"], one["state"]) for one in ask(capsys, "history")]
    assert listed == [(4, "success"), (3, "success"), (2, "partial"), (1, "partial")]
    assert [(one["backfill_id"], one["state"]) for one in api.get("")["backfills"]] == listed
    assert api.get("/4")["rows_inserted"] == SYMBOLS


def check_audit(story: Story, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    steps = ["backfill.resume", "backfill.pause", "backfill.launch"]
    by_command = ask(capsys, "history", "1")
    assert [entry["action"] for entry in by_command] == steps
    assert all("@" in entry["actor"] for entry in by_command)
    by_api = api.get("/2/audit")
    assert [(entry["action"], entry["actor"]) for entry in by_api] == [
        (step, "mei") for step in steps
    ]
    (retried,) = api.get("/4/audit")
    assert (retried["actor"], retried["detail"]["retry_of"]) == ("mei", 2)
    everything = Counter(row[0] for row in story.query("SELECT action FROM ops.audit"))
    twice = dict.fromkeys([*steps, "backfill.retry"], 2)
    assert everything == {**twice, "tokens.create": 1}


def check_rows(story: Story) -> None:
    """What was killed and paused is there once, and the ledgers balance."""
    rows = len(DAYS) * SYMBOLS - 1
    counted = story.query(
        "SELECT source, count(*), count(DISTINCT (trade_date, symbol)) FROM market.daily_bars"
        " GROUP BY source ORDER BY source"
    )
    assert counted == [(BY_COMMAND, rows, rows), (BY_API, rows, rows)]
    killed = story.query("SELECT scope FROM ops.loads WHERE reason = 'holder_died'")
    assert {scope for (scope,) in killed} == {BY_COMMAND, BY_API}
    assert story.query("SELECT resource FROM ops.leases") == []
