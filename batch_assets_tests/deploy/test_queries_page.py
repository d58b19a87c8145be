"""docs/queries.md, run as it stands on a database with loaded bars."""

import os
import re
import subprocess
from contextlib import closing
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from batch_assets.ops.own_project import write_own_project

PAGE = Path(__file__).resolve().parents[2] / "docs" / "queries.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def loaded(postgres: str, tmp_path: Path) -> str:
    write_own_project(tmp_path)
    done = subprocess.run(
        [
            *("dagster", "job", "execute", "-m", "batch_assets.definitions", "-j", "market_sync"),
            *("--tags", '{"dagster/partition": "2024-09-30"}'),
        ],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "BATCH_ASSETS_DATABASE_URL": postgres},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return postgres


@pytest.mark.long
def test_the_page_is_true_of_a_loaded_database(
    loaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *queries, role = blocks("sql")
    assert len(queries) == 9
    with closing(psycopg.connect(loaded, autocommit=True)) as conn:
        answers = [conn.execute(query).fetchall() for query in queries]
        ((read, accounted),) = {row[5:7] for row in answers[0]}
        assert read == accounted > 0
        assert len(answers[3]) == 10
        assert len(answers[5]) == 10
        conn.execute(role)
        try:
            _try_more_than_reading(loaded, queries)
        finally:
            conn.execute("DROP OWNED BY dashboard; DROP ROLE dashboard")

    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[0], str(PAGE), "exec"), {"url": loaded})  # its own example
    assert len(pd.read_excel("bars.xlsx", engine="openpyxl")) == answers[0][0][5]


def _try_more_than_reading(url: str, queries: list[str]) -> None:
    reader = make_conninfo(url, user="dashboard", password="change me")
    with closing(psycopg.connect(reader, autocommit=True)) as conn:
        for query in queries:
            conn.execute(query)
        # The default is only a default: what counts is what was granted.
        conn.execute("SET default_transaction_read_only = off")
        for statement in (
            "DELETE FROM market.daily_bars",
            "INSERT INTO ops.leases (resource) VALUES ('x')",
            "SELECT * FROM ops.api_tokens",
            "SELECT * FROM ops.browser_sessions",
            "CREATE TABLE market.mine (id int)",
            "DROP TABLE market.daily_bars",
            "COPY (SELECT 1) TO PROGRAM 'cat'",
            "SET ROLE postgres",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)
        limit = conn.execute("SHOW statement_timeout").fetchone()
        assert limit == ("5min",)
