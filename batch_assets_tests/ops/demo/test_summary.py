from pathlib import Path

import pytest

from batch_assets.ops.demo.outcome import DayOutcome, DeadLetter, Outcome
from batch_assets.ops.demo.project import DemoProject, write_project
from batch_assets.ops.demo.summary import describe_next, describe_open_ui, describe_outcome

DAYS = (
    DayOutcome("2012-10-22", "success", "", "", 6, (4, 0, 0, 1, 1, 0), 0),
    DayOutcome("2012-10-27", "skipped", "not_a_session", "", 0, (0,) * 6, 0),
    DayOutcome("2013-01-10", "failed", "UnreadableSource", "cut off; fetch it", 0, (0,) * 6, 0),
)
LETTER = DeadLetter("2012-11-05.csv", 6, "unparsable_number", "close", "Z9", "a number", "MSFT")


def test_summary_tells_days_rows_and_dead_letters() -> None:
    outcome = Outcome(DAYS, dead_letters=(LETTER,), stored_rows=4)

    assert list(describe_outcome(outcome, seconds=41.6)) == [
        "",
        "Days         3",
        "  success    1",
        "  failed     1",
        "    2013-01-10  cut off; fetch it",
        "  skipped    1   no session: weekend, holiday or storm",
        "",
        "Rows         6 read",
        "  inserted     4",
        "  updated      0",
        "  unchanged    0",
        "  duplicate    1",
        "  rejected     1",
        "  skipped      0",
        "  6 = 4 + 0 + 0 + 1 + 1 + 0: the ledger balances",
        "  market.daily_bars holds 4 rows",
        "",
        "Dead letters 1: rows that were not loaded, kept with reason and place",
        "  2012-11-05.csv row 6   MSFT    unparsable_number",
        "    close: Z9; expected a number",
        "",
        "42 seconds, with the start of database and Dagster",
        "",
    ]


def test_summary_says_that_everything_is_unchanged() -> None:
    same = DayOutcome("2012-10-22", "success", "", "", 6, (0, 0, 4, 1, 1, 0), 0)

    lines = list(describe_outcome(Outcome((same,)), seconds=1))

    assert (
        "Everything is unchanged: 0 inserted, 0 updated, 4 unchanged. Nothing was written twice."
        in lines
    )


def test_summary_cries_out_where_rows_are_lost() -> None:
    lost = DayOutcome("2012-10-22", "success", "", "", 6, (4, 0, 0, 0, 1, 0), 0)

    lines = list(describe_outcome(Outcome((lost,)), seconds=1))

    assert "  6 = 4 + 0 + 0 + 0 + 1 + 0: THE LEDGER DOES NOT BALANCE" in lines


def test_state_that_should_not_remain_is_shown_with_its_reason() -> None:
    waiting = DayOutcome("2012-10-22", "not_ready", "before_close", "", 0, (0,) * 6, 0)

    lines = list(describe_outcome(Outcome((waiting,)), seconds=1))

    assert "  not_ready    1   before_close" in lines


def test_next_commands_name_the_folder_of_this_demonstration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BATCH_ASSETS_HOME", raising=False)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    monkeypatch.delenv("BATCH_ASSETS_DATABASE_URL", raising=False)
    project = DemoProject(tmp_path / "demo")
    write_project(project, {})

    lines = list(describe_next(project))

    assert f"Its files are in {project.feed_dir}" in lines
    assert lines[-2:] == [f"  cd {project.folder}", "  batch-assets up"]


def test_open_ui_is_shown_with_its_backfill() -> None:
    assert list(describe_open_ui("http://127.0.0.1:3000", "abc")) == [
        "The UI is open at http://127.0.0.1:3000",
        "  http://127.0.0.1:3000/runs/b/abc?tab=partitions",
        "  http://127.0.0.1:3000/assets/market/us_stocks/daily_bars?view=partitions",
    ]
