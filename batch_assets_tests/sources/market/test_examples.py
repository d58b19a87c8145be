"""The files that make a fresh clone work offline."""

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.compute as pc
import pytest

from batch_assets.settings import load_settings
from batch_assets.sources.market.contract import daily_bars_contract
from batch_assets.sources.market.feed import build_feeds
from batch_assets.sources.market.files import open_feed
from batch_assets.sources.market.source import DayState

PROJECT = Path(__file__).resolve().parents[3]
EXAMPLES = PROJECT / "examples"
SETTINGS = load_settings({"BATCH_ASSETS_CONFIG": str(PROJECT / "batch_assets.toml")})
FEED = build_feeds(SETTINGS.section("market"), SETTINGS.config_dir)["examples"]
NOW = datetime(2024, 10, 20, tzinfo=UTC)
SESSIONS = ["2024-09-25", "2024-09-26", "2024-09-27", "2024-09-30", "2024-10-08", "2024-10-09"]


def test_the_generator_writes_the_committed_files(tmp_path: Path) -> None:
    script = tmp_path / "generate.py"
    script.write_bytes((EXAMPLES / "generate.py").read_bytes())

    subprocess.run([sys.executable, str(script)], check=True)

    written = {p.name: p.read_bytes() for p in (tmp_path / "market" / "cn_by_day").iterdir()}
    kept = {p.name: p.read_bytes() for p in (EXAMPLES / "market" / "cn_by_day").iterdir()}
    assert written == kept
    assert sorted(kept) == [f"{day}.csv" for day in SESSIONS]


@pytest.mark.parametrize("day", SESSIONS)
def test_every_session_is_clean_and_has_suspended_rows(day: str, calendar_cache: Path) -> None:
    source = open_feed(FEED, calendar_cache)

    opened = source.open_day(date.fromisoformat(day), now=NOW)
    (batch,) = opened.read()

    assert (opened.state, opened.is_warning) == (DayState.READY, False)
    assert (batch.read_rows, batch.rows.num_rows, batch.rejected) == (400, 400, ())
    assert pc.sum(pc.equal(batch.rows["status"], "suspended")).as_py() == 4
    for rule in daily_bars_contract(FEED).rules:
        assert not pc.any(rule.broken(batch.rows)).as_py(), rule.name


@pytest.mark.parametrize("day", range(1, 8))
def test_national_day_is_skipped(day: int, calendar_cache: Path) -> None:
    opened = open_feed(FEED, calendar_cache).open_day(date(2024, 10, day), now=NOW)

    assert (opened.state, opened.reason) == (DayState.SKIPPED, "not_a_session")
    assert "2024-10-0" in opened.message
