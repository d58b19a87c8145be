"""The page that explains how to add a vendor, run as it is written."""

import re
import sys
import types
from pathlib import Path

import pytest

from batch_assets.errors import SourceRefused
from batch_assets.sources.market.vendors.registry import VENDORS, kind_of
from batch_assets.sources.market.vendors.vendor import CAPABILITIES
from batch_assets_tests.fakes.http_vendor import Answer, HttpVendorServer, Request
from batch_assets_tests.fakes.vendor_answers import as_json
from batch_assets_tests.sources.market.vendors.conftest import (
    DAY,
    NOW,
    VendorSourceMaker,
    rows_of,
)

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "add-a-vendor.md").read_text("utf-8")
NAME = "batch_assets_tests_example_vendor"


@pytest.fixture
def _example(monkeypatch: pytest.MonkeyPatch) -> None:
    code, line = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert line.strip().startswith('"example":')
    module = types.ModuleType(NAME)
    exec(compile(code, "docs/add-a-vendor.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, NAME, module)
    monkeypatch.setitem(VENDORS, "example", NAME)


def answers(request: Request) -> Answer:
    if request.headers["X-Token"] != "token":
        return Answer(b"who are you?", 401)
    header = ["ticker", "day", "o", "h", "l", "c", "v"]
    return as_json({"header": header, "rows": [["AAPL", request.query["day"], 1, 3, 1, 2, 100]]})


@pytest.mark.usefixtures("_example")
def test_the_vendor_of_the_page_gives_rows(make_vendor_source: VendorSourceMaker) -> None:
    with HttpVendorServer(answers) as server:
        source = make_vendor_source("example", base_url=server.base_url)
        (row,) = rows_of(source.open_day(DAY, now=NOW))

    assert (row["symbol"], row["close"], row["volume"]) == ("AAPL.US", 2, 100)


@pytest.mark.usefixtures("_example")
def test_the_vendor_of_the_page_tells_failures_apart(
    make_vendor_source: VendorSourceMaker,
) -> None:
    with HttpVendorServer(lambda _: Answer(b"who are you?", 401)) as server:
        source = make_vendor_source("example", base_url=server.base_url)

        with pytest.raises(SourceRefused, match="EXAMPLE_TOKEN"):
            source.open_day(DAY, now=NOW)


@pytest.mark.parametrize("name", VENDORS)
def test_the_page_states_what_each_vendor_can_do(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
    stated = {word.strip() for word in row.split("|")[-2].split(",")}

    assert stated == set(kind_of(name).capabilities)


def test_the_page_explains_every_capability() -> None:
    assert all(f"| {name} |" in PAGE for name in CAPABILITIES)
