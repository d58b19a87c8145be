from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.sources.market.date_formats import UnknownDateFormatError, check_format
from batch_assets.sources.market.dates import parse_dates

DAY = date(2024, 9, 30)


def parse_one(text: str, date_format: str = "auto", zone: str = "UTC") -> date | None:
    parsed: date | None = parse_dates(pa.array([text]), date_format, zone)[0].as_py()
    return parsed


@pytest.mark.parametrize(
    "text",
    ["2024-09-30", "2024/9/30", "2024.09.30", "20240930", "2024年9月30日", "2024-09-30 00:00:00",
     "2024-09-30T15:00:00+08:00", "20240930 00:00"],
)  # fmt: skip
def test_year_month_day_is_read_without_a_format(text: str) -> None:
    assert parse_one(text) == DAY


@pytest.mark.parametrize(
    "text",
    ["30/09/2024", "09-30-2024", "2024-13-01", "2024-02-30", "2023-02-29", "20240931", "0000-01-01",
     "2024-09", "yesterday", "2024-09-30x", "24-09-30", "2024-00-10", "2024-01-00", "１"],
)  # fmt: skip
def test_what_is_no_year_month_day_has_no_date(text: str) -> None:
    assert parse_one(text) is None


@pytest.mark.parametrize(
    ("date_format", "text"),
    [
        ("iso", "2024-09-30"), ("YYYYMMDD", "20240930"), ("dd-Mon-YYYY", "30-Sep-2024"),
        ("dd-Mon-YYYY", "30-SEP-2024"), ("roc", "113/09/30"), ("roc", "1130930"),
        ("roc", "113年09月30日"), ("roc", "113/09/30＊"), ("%d.%m.%Y", "30.09.2024"),
        ("%m/%d/%y", "09/30/24"), ("%B %d, %Y", "September 30, 2024"), ("%Y%m%d", "20240930 00:00"),
        ("excel_serial", "45565"), ("excel_serial", "45565.0"),
    ],
)  # fmt: skip
def test_a_declared_format_is_followed(date_format: str, text: str) -> None:
    assert parse_one(text, date_format) == DAY


def test_roc_years_below_one_hundred_have_two_digits() -> None:
    assert parse_one("83/09/05", "roc") == date(1994, 9, 5)


def test_short_years_split_at_69() -> None:
    assert parse_one("01/01/69", "%d/%m/%y") == date(1969, 1, 1)
    assert parse_one("01/01/68", "%d/%m/%y") == date(2068, 1, 1)


@pytest.mark.parametrize(
    ("zone", "day"), [("UTC", date(2024, 9, 29)), ("Asia/Shanghai", date(2024, 9, 30))]
)
def test_an_instant_belongs_to_the_date_of_its_zone(zone: str, day: date) -> None:
    assert parse_one("1727625600000", "epoch_ms", zone) == day


@pytest.mark.parametrize("text", ["", "1e3", "12.5", "99999999999999999"])
def test_what_is_no_instant_has_no_date(text: str) -> None:
    assert parse_one(text, "epoch_ms") is None


@pytest.mark.parametrize("date_format", ["yyyy-mm-dd", "%d.%m", "ISO8601"])
def test_an_unknown_format_is_refused_with_the_known_ones(date_format: str) -> None:
    with pytest.raises(UnknownDateFormatError, match="date format"):
        check_format(date_format)


def test_null_stays_null() -> None:
    assert parse_dates(pa.array([None], pa.string()), "auto", "UTC").to_pylist() == [None]


@given(st.dates(min_value=date(1, 1, 1)))
def test_every_date_survives_its_iso_spelling(day: date) -> None:
    assert parse_one(day.isoformat()) == day
    assert parse_one(f"{day.year:04d}{day.month:02d}{day.day:02d}") == day
