import gzip
from datetime import date

import pytest

from batch_assets.ops.demo.faults import (
    BROKEN_DAY,
    FIRST_DAY,
    LAST_DAY,
    ROW_FAULTS,
    build_files,
    describe_faults,
)
from batch_assets.ops.demo.stocks import HEADER, TICKERS, find_stock_file, read_days


@pytest.fixture(scope="module")
def real_days() -> dict[date, list[str]]:
    return dict(read_days(find_stock_file(), FIRST_DAY, LAST_DAY))


def test_only_planted_rows_differ_from_the_real_ones(real_days: dict[date, list[str]]) -> None:
    files = build_files(real_days)

    faulty = {(fault.day, fault.ticker) for fault in ROW_FAULTS}
    for day, lines in real_days.items():
        if day == BROKEN_DAY:
            continue
        written = files[f"{day}.csv"].decode().splitlines()
        assert written[0] == HEADER
        changed = {row.split(",")[0] for row in set(written[1:]) ^ set(lines)}
        repeated = {row.split(",")[0] for row in written[1:] if written.count(row) > 1}
        assert {(day, ticker) for ticker in changed | repeated} == {
            key for key in faulty if key[0] == day
        }


def test_every_fault_changes_a_row_that_is_there(real_days: dict[date, list[str]]) -> None:
    assert all(len(real_days[fault.day]) == len(TICKERS) for fault in ROW_FAULTS)
    for fault in ROW_FAULTS:
        (line,) = [line for line in real_days[fault.day] if line.startswith(f"{fault.ticker},")]
        cells = line.split(",")

        rows = fault.apply(cells)

        assert rows != [cells]
        assert len(rows) == 1 + fault.read
        assert all(len(row) == len(cells) for row in rows)


def test_broken_day_is_a_file_cut_off_in_the_middle(real_days: dict[date, list[str]]) -> None:
    files = build_files(real_days)

    assert f"{BROKEN_DAY}.csv" not in files
    with pytest.raises(EOFError):
        gzip.decompress(files[f"{BROKEN_DAY}.csv.gz"])


def test_files_are_the_same_each_time(real_days: dict[date, list[str]]) -> None:
    assert build_files(real_days) == build_files(real_days)


def test_range_holds_holidays_and_days_without_warning(real_days: dict[date, list[str]]) -> None:
    closed = [
        date(2012, 10, 29),  # storm
        date(2012, 10, 30),  # storm
        date(2012, 11, 22),  # Thanksgiving
        date(2012, 12, 25),
        date(2013, 1, 1),
        date(2013, 1, 21),  # Martin Luther King Day
    ]

    assert all(FIRST_DAY <= day <= LAST_DAY and day.weekday() < 5 for day in closed)
    assert not set(closed) & set(real_days)


def test_planted_faults_are_listed_by_day() -> None:
    lines = describe_faults()

    assert len(lines) == len(ROW_FAULTS) + 1
    assert lines == sorted(lines)
    assert lines[-1] == "2013-01-10  whole day: the file is cut off in the middle"
