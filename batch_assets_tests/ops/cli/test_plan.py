import json
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from batch_assets.ingest.market.daily_bars import options_of, sync_days
from batch_assets.ops.cli.main import run
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings, load_settings
from batch_assets.sources.market.feed import build_feeds
from batch_assets.sources.market.files import open_feed

HEADER = "date,symbol,open,high,low,close,volume,amount"
FEED = """
[market.feeds.cn]
folder = "bars"
layout = "by_day"
files = "{date}.csv"
calendar = "XSHG"
symbol = { style = "cn" }

[market.feeds.free]
vendor = "baostock"
host = "127.0.0.1"
port = 1
"""


@pytest.fixture(autouse=True)
def project(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch, state_dir: Path
) -> Path:
    (tmp_path / "bars").mkdir()
    (tmp_path / "batch_assets.toml").write_text(FEED)
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(state_dir))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    return tmp_path


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    status = run(["plan", "market", "--from", "2024-09-27", "--json", *arguments])
    output = capsys.readouterr()
    assert status == 0, output.err
    document: dict[str, Any] = json.loads(output.out)
    return document


def test_plan_is_data_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    document = plan(capsys, "--to", "2024-10-08", "--feed", "free")

    assert document["reasons"] == {"not_a_session": 9, "missing": 3}
    assert (document["calls"], document["rows"], document["seconds_p50"]) == (3, None, None)
    assert document["groups"] == [
        {"route": "by_day", "days_needed": 3, "calls": 3, "symbols": None}
    ]
    assert document["days"][0] == {"day": "2024-09-27", "why": "missing", "is_needed": True}


def test_chosen_symbols_are_planned(capsys: pytest.CaptureFixture[str]) -> None:
    document = plan(capsys, "--to", "2024-10-08", "--feed", "free", "--symbol", "600000.SH")

    assert (document["calls"], document["groups"][0]["route"]) == (1, "by_symbol_range")


def test_table_says_why_and_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "market", "--from", "2024-09-27", "--to", "2024-10-08"]) == 0

    text = capsys.readouterr().out
    assert "not_a_session" in text
    assert "3 of 12" in text
    assert "unknown" in text


def test_check_answers_with_the_exit_status() -> None:
    closed = ["plan", "market", "--from", "2024-10-01", "--to", "2024-10-07", "--check"]

    assert run(closed) == 0
    assert run([*closed, "--from", "2024-09-30"]) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--from", "yesterday"], 2, "yesterday"),
        (["--from", "2024-10-08", "--to", "2024-10-01"], 7, "has no day"),
        (["--from", "2024-10-08", "--feed", "nobody"], 7, "expected one of cn, free"),
        (["--from", "2024-10-08", "--feed", "free", "--symbol", "six"], 7, "or --symbol"),
    ],
)
def test_wrong_wishes_are_told(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "market", *arguments]) == status

    assert message in capsys.readouterr().err


def test_files_that_changed_since_they_were_loaded_are_seen(
    project: Path, postgres: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "bars" / "2024-09-30.csv"
    for day in ("2024-09-27", "2024-09-30"):
        text = f"{HEADER}\n{day},600000.SH,10,11,9,10,1000,10000\n"
        (project / "bars" / f"{day}.csv").write_text(text)
    feed = build_feeds(load_settings().section("market"), project)["cn"]
    days = [date(2024, 9, 27), date(2024, 9, 30)]
    list(
        sync_days(
            partial(connect, postgres, application_name="test"),
            feed,
            open_feed(feed, state_dir / "cache"),
            days,
            now=datetime(2025, 3, 3, tzinfo=UTC),
            options=options_of(feed, LoadingSettings()),
        )
    )
    path.write_text(path.read_text().replace("1000,", "1100,"))

    document = plan(capsys, "--to", "2024-09-30")

    assert [day["why"] for day in document["days"]] == [
        "already_present", "not_a_session", "not_a_session", "changed_source",
    ]  # fmt: skip
    assert document["rows"] == 1
