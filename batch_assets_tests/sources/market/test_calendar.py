import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.sources.market.calendar import open_calendar

TODAY = date(2024, 10, 20)


def test_national_day_is_closed_in_shanghai(calendar_cache: Path) -> None:
    calendar = open_calendar("XSHG", calendar_cache, today=TODAY)

    assert calendar.is_session(date(2024, 9, 30)) is True
    assert calendar.is_session(date(2024, 10, 1)) is False
    assert calendar.previous_session(date(2024, 10, 8)) == date(2024, 9, 30)


def test_a_make_up_working_saturday_is_no_session(calendar_cache: Path) -> None:
    calendar = open_calendar("XSHG", calendar_cache, today=TODAY)

    assert calendar.is_session(date(2024, 9, 29)) is False


def test_a_date_beyond_the_calendar_is_unknown(calendar_cache: Path) -> None:
    calendar = open_calendar("XSHG", calendar_cache, today=TODAY)

    assert calendar.is_session(date(2099, 1, 5)) is None
    assert calendar.is_session(date(1950, 1, 5)) is None
    assert calendar.previous_session(date(2099, 1, 5)) is None


def test_the_second_use_does_not_import_the_package(calendar_cache: Path) -> None:
    open_calendar("XSHG", calendar_cache, today=TODAY)
    script = (
        "import sys; from datetime import date; from pathlib import Path;"
        "from batch_assets.sources.market.calendar import open_calendar;"
        f"open_calendar('XSHG', Path({str(calendar_cache)!r}), today=date({TODAY:%Y, %-m, %-d}));"
        "assert 'exchange_calendars' not in sys.modules and 'pandas' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_a_damaged_cache_is_computed_again(tmp_path: Path) -> None:
    open_calendar("XSHG", tmp_path, today=TODAY)
    (cached,) = (tmp_path / "calendars").iterdir()
    cached.write_text("{", encoding="utf-8")

    calendar = open_calendar("XSHG", tmp_path, today=TODAY)

    assert calendar.is_session(date(2024, 9, 30)) is True
    assert json.loads(cached.read_text("utf-8"))["sessions"]


def test_every_day_is_a_session_where_trading_never_stops(tmp_path: Path) -> None:
    assert open_calendar("24/7", tmp_path, today=TODAY).is_session(date(2024, 9, 29)) is True


def test_the_users_days_win(tmp_path: Path, calendar_cache: Path) -> None:
    file = tmp_path / "days.csv"
    file.write_text(
        "date,state,note\n2024-09-30,closed,typhoon # observed\n\n20990105,open\n", "utf-8"
    )

    calendar = open_calendar("XSHG", calendar_cache, today=TODAY, user_file=file)

    assert calendar.is_session(date(2024, 9, 30)) is False
    assert calendar.is_session(date(2099, 1, 5)) is True
    assert calendar.is_session(date(2024, 9, 27)) is True
    assert calendar.name.endswith("+ days.csv")


@pytest.mark.parametrize("line", ["2024-09-31,open", "2024-09-30", "2024-09-30,maybe"])
def test_a_wrong_line_of_the_users_file_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "days.csv"
    file.write_text(f"date,state\n{line}\n", encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"days.csv, line 2: .*expected YYYY-MM-DD,open"):
        open_calendar("24/7", tmp_path, today=TODAY, user_file=file)


def test_a_calendar_nobody_knows_leaves_every_day_unknown(tmp_path: Path) -> None:
    assert open_calendar("XMOON", tmp_path, today=TODAY).is_session(date(2024, 9, 30)) is None
