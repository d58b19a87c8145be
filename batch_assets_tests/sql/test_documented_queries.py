"""The examples of docs/history-and-factors.md run as they are written."""

import re
from datetime import date
from functools import partial
from pathlib import Path

import psycopg
import pytest

from batch_assets.postgres.connect import connect

_TEXT = (Path(__file__).parents[2] / "docs" / "history-and-factors.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _TEXT, re.DOTALL)


def test_python_example_stores_what_it_says(postgres: str) -> None:
    for block in blocks("python"):
        exec(block, {"connect": partial(connect, postgres, application_name="test")})

    with psycopg.connect(postgres) as conn:
        assert conn.execute("SELECT symbol, listed_on FROM market.instruments").fetchall() == [
            ("600000.SH", date(1999, 11, 10))
        ]
        assert conn.execute("SELECT count(*) FROM market.suspensions").fetchone() == (1,)
        assert conn.execute("SELECT count(*) FROM market.adjustment_factors").fetchone() == (1,)


@pytest.mark.parametrize("number", range(2))
def test_every_statement_of_the_page_runs(postgres: str, number: int) -> None:
    statements = [text for text in blocks("sql")[number].split(";") if text.strip()]

    with psycopg.connect(postgres) as conn:
        for statement in statements:
            assert conn.execute(statement.encode()).fetchall() == []

    assert len(blocks("sql")) == 2
