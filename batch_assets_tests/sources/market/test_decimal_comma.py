"""Files whose numbers have a decimal comma, as spreadsheets of much of Europe export them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.sources.market.feed import FileFeed
from batch_assets.sources.market.readers import mapping_fingerprint
from batch_assets_tests.sources.market.conftest import HEADER, FeedMaker, SourceMaker
from batch_assets_tests.sources.market.day_reads import DAY, closes, open_day, read_all

EUROPEAN: dict[str, Any] = {"delimiter": ";", "decimal": ",", "date_format": "%d.%m.%Y"}


def european(*lines: str) -> bytes:
    return "\r\n".join([HEADER.replace(",", ";"), *lines, ""]).encode("utf-8-sig")


def test_numbers_with_a_decimal_comma_are_exact(folder: Path, make_source: SourceMaker) -> None:
    (folder / f"{DAY}.csv").write_bytes(
        european("30.09.2024;600000.SH;10,1;11;9,5;10,25;1000;10250,5")
    )

    (batch,) = read_all(open_day(make_source(**EUROPEAN)))

    assert closes([batch]) == {"600000.SH": Decimal("10.25")}
    assert batch.rows["amount"][0].as_py() == Decimal("10250.5")


def test_grouping_points_are_read_and_decimal_points_are_dead_letters(
    folder: Path, make_source: SourceMaker
) -> None:
    (folder / f"{DAY}.csv").write_bytes(
        european(
            '30.09.2024;600000.SH;1.010,1;1.100;"900,5";1.000,25;1.000.000;1.000.250.000',
            "30.09.2024;600001.SH;10,1;11;9;10.25;5;50",
        )
    )

    (batch,) = read_all(open_day(make_source(**EUROPEAN)))

    assert closes([batch]) == {"600000.SH": Decimal("1000.25")}
    assert batch.rows["volume"][0].as_py() == Decimal(1_000_000)
    (rejected,) = batch.rejected
    (violation,) = rejected.violations
    assert (violation.column, violation.observed) == ("close", "10.25")
    assert "with a decimal comma" in violation.expected
    assert rejected.original["close"] == "10.25"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decimal": ","}, "needs another delimiter"),
        ({**EUROPEAN, "files": "{date}.xlsx"}, "is for text"),
        ({**EUROPEAN, "format": "parquet"}, "is for text"),
    ],
)
def test_a_decimal_comma_that_cannot_be_is_refused(
    make_feed: FeedMaker, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_feed(**settings)


def test_only_feeds_with_a_decimal_comma_are_read_again(make_feed: FeedMaker) -> None:
    plain, stated = make_feed(delimiter=";"), make_feed(delimiter=";", decimal=".")
    comma = make_feed(delimiter=";", decimal=",")

    assert isinstance(comma, FileFeed)
    assert mapping_fingerprint(plain) == mapping_fingerprint(stated)
    assert mapping_fingerprint(plain) != mapping_fingerprint(comma)
