"""docs/document-formats.md names every outcome, and every limit with its default."""

import re
from dataclasses import fields
from pathlib import Path

from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.outcome import DocumentOutcome

PAGE = Path(__file__).resolve().parents[3] / "docs" / "document-formats.md"


def test_every_outcome_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))

    assert {outcome.value for outcome in DocumentOutcome} <= documented


def test_every_limit_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(max_\w+)` \| ([\d,]+(?: [MG]iB)?)", PAGE.read_text(), re.M))

    assert rows == {
        field.name: _shown(getattr(ParseLimits(), field.name)) for field in fields(ParseLimits)
    }


def _shown(value: int) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB")):
        if value % size == 0:
            return f"{value // size} {unit}"
    return f"{value:,}"
