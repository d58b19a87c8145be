"""The statements of docs/documents.md and the example of batch_assets.toml work as written."""

import re
from itertools import takewhile
from pathlib import Path

import psycopg
import pytest

from batch_assets.settings import load_settings, shipped_path
from batch_assets.sources.documents.sources import DocumentSource, read_document_sources

_STATEMENTS = re.findall(
    r"```sql\n(.*?)```",
    (Path(__file__).parents[2] / "docs" / "documents.md").read_text("utf-8"),
    re.DOTALL,
)


@pytest.mark.parametrize("statement", _STATEMENTS, ids=range(len(_STATEMENTS)))
def test_every_statement_of_the_page_runs(postgres: str, statement: str) -> None:
    with psycopg.connect(postgres) as conn:
        assert conn.execute(statement).fetchall() == []


def test_commented_example_has_every_setting_with_its_default(tmp_path: Path) -> None:
    lines = shipped_path("batch_assets.toml").read_text("utf-8").splitlines()
    begin = lines.index("# [documents.sources.inbox]")
    commented = takewhile(lambda line: line.startswith("#"), lines[begin:])
    example = "\n".join(line.removeprefix("#").strip() for line in commented)
    (tmp_path / "batch_assets.toml").write_text(example)

    source = read_document_sources(load_settings({}, working_dir=tmp_path))["inbox"]

    expected = DocumentSource(name="inbox", url=str(tmp_path / "landing"))
    # These two are shortened for the reader, and a schedule is off by default.
    shown = {"exclude", "day_pattern", "schedule"}
    assert source.model_dump(exclude=shown) == expected.model_dump(exclude=shown)
    for name in DocumentSource.model_fields:
        assert name == "name" or f"{name} =" in example or f".{name}]" in example, name
