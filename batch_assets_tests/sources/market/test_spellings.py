"""What is remembered of spellings is right for every thread that asks."""

import threading
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.sources.market.feed import FileFeed, Layout
from batch_assets.sources.market.spellings import Remembered, Spellings
from batch_assets.sources.market.symbols import SymbolRule

_CODES = st.one_of(
    st.from_regex(r"[0-9]{5,7}\.(SH|SZ|BJ|SS|XSHG|US)", fullmatch=True),
    st.from_regex(r"[ '=]?[A-Za-z0-9&_.\-]{0,6}\.?[A-Za-z]{0,4} ?", fullmatch=True),
    st.sampled_from(["000000.SH", "NA.US", "n/a", "", "\n600000.SH", "600000.SH\n", "ÄB.DE"]),
)


def test_two_threads_that_meet_the_same_new_text_both_get_its_value() -> None:
    is_parsing, may_go_on = threading.Event(), threading.Event()
    found: dict[str, list[str]] = {}

    def parse(texts: pa.Array) -> pa.Array:
        is_parsing.set()
        assert may_go_on.wait(60)
        return pa.array([f"value of {text}" for text in texts.to_pylist()], pa.string())

    remembered = Remembered(parse, pa.string())

    def ask(name: str, *texts: str) -> None:
        found[name] = remembered.translate(pa.array(texts, pa.string())).to_pylist()

    first = threading.Thread(target=ask, args=("first", "a", "b"))
    second = threading.Thread(target=ask, args=("second", "b", "a", "b"))
    first.start()
    assert is_parsing.wait(60)
    second.start()
    # Time for the second to meet what the first has begun, if nothing keeps it from that.
    second.join(0.3)
    may_go_on.set()
    first.join()
    second.join()

    assert found == {
        "first": ["value of a", "value of b"],
        "second": ["value of b", "value of a", "value of b"],
    }


@pytest.mark.parametrize(
    "rule",
    [
        SymbolRule(style="cn"),
        SymbolRule(style="cn", bare="stock"),
        SymbolRule(),
        SymbolRule(width=6),
        SymbolRule(exchange="US"),
        SymbolRule(style="cn", aliases={"600000.SH": "600001.SH"}),
        SymbolRule(pattern=r"(?P<code>[A-Z]+)\.(?P<exchange>[A-Z]+)"),
    ],
    ids=str,
)
@given(texts=st.lists(_CODES, max_size=30))
def test_columns_of_symbols_become_what_each_spelling_does(
    rule: SymbolRule, texts: list[str]
) -> None:
    feed = FileFeed(
        name="prices", folder=Path(), files="{date}.csv", symbol=rule,
        nulls=("", "NA.US", "000000.SH"), calendar="XSHG", layout=Layout.BY_DAY,
    )  # fmt: skip
    expected = [None if text.strip() in feed.nulls else rule.canonical(text) for text in texts]

    found = Spellings(feed).symbols(pa.array(texts, pa.string()), None)

    assert found.to_pylist() == expected
