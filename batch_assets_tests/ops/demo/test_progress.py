import io

import pytest
from rich.console import Console

from batch_assets.ops.demo import progress
from batch_assets.ops.demo.outcome import DayOutcome
from batch_assets.ops.demo.progress import describe_days, showing_progress

DAYS = (
    DayOutcome("2012-10-22", "success", "", "", 6, (4, 0, 0, 1, 1, 0), 0),
    DayOutcome("2012-10-23", "running", "", "", 0, (0,) * 6, 0),
    DayOutcome("2012-10-27", "skipped", "not_a_session", "", 0, (0,) * 6, 0),
    DayOutcome("2013-01-10", "failed", "UnreadableSource", "cut off", 0, (0,) * 6, 0),
)


def test_days_are_counted_by_what_became_of_them() -> None:
    assert describe_days(DAYS) == "1 done, 1 failed, 1 skipped, 6 rows"


def test_file_gets_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    now = iter([0.0, 1.0, 10.0, 10.0, 12.0, 20.5, 20.5])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))

    with showing_progress(Console(file=written), 92) as show:
        for _ in range(4):
            show(DAYS, waiting_for="loading")

    line = "3 of 92 days: 1 done, 1 failed, 1 skipped, 6 rows; loading\n"
    assert written.getvalue() == line * 2


def test_terminal_gets_a_bar_that_goes_away() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120)

    with showing_progress(console, 92) as show:
        show(DAYS, waiting_for="loading")

    assert "1 done, 1 failed, 1 skipped, 6 rows" in written.getvalue()
    assert "3/92" in written.getvalue()
    assert written.getvalue().endswith("\x1b[2K")
