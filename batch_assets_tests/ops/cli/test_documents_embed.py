"""`documents embed`, and the embedding that an ingest ends with."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from batch_assets.ops.cli.main import run
from batch_assets_tests.fakes.embedding_server import TOKEN, all_texts, embedding_answer
from batch_assets_tests.fakes.http_vendor import HttpVendorServer


@pytest.fixture
def server() -> Iterator[HttpVendorServer]:
    with HttpVendorServer(embedding_answer) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    with psycopg.connect(postgres) as conn:
        found = conn.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'")
        if found.fetchone() is None:
            pytest.skip("the server of this test run has no pgvector")
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.setenv("EMBEDDING_TOKEN", TOKEN)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "batch_assets.toml").write_text(
        "[execution]\ncpu_workers = 1\nspare_workers = 0\n"
        '[documents.sources.inbox]\nurl = "inbox"\nsettle_seconds = 0\n'
    )
    return tmp_path


def configure(folder: Path, server: HttpVendorServer) -> None:
    with (folder / "batch_assets.toml").open("a") as file:
        file.write(
            f'[documents.embedding]\nbase_url = "{server.base_url}/v1"\nmodel = "m"\n'
            'dimensions = 3\ntoken_env = "EMBEDDING_TOKEN"\nattempts = 1\n'
        )


def stored(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT count(embedding) FROM documents.embeddings").fetchone()
    assert row is not None
    return int(row[0])


def has_table(url: str) -> bool:
    with psycopg.connect(url) as conn:
        return conn.execute("SELECT to_regclass('documents.embeddings')").fetchone() != (None,)


def test_off_by_default(folder: Path, postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "inbox" / "a.txt").write_text("text a")

    assert run(["documents", "ingest"]) == 0
    assert not has_table(postgres)
    assert run(["documents", "embed"]) == 7
    assert "there is no [documents.embedding]" in capsys.readouterr().err


def test_embed_takes_texts_from_before_and_ingest_those_that_come(
    folder: Path, postgres: str, server: HttpVendorServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "inbox" / "a.txt").write_text("text a")
    assert run(["documents", "ingest"]) == 0
    configure(folder, server)
    capsys.readouterr()

    assert run(["documents", "embed", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["source"], counts["read"], counts["embedded"]) == ("inbox", 1, 1)

    (folder / "inbox" / "b.txt").write_text("text b")
    assert run(["documents", "ingest"]) == 0
    assert "inbox: 1 pieces embedded by m, 0 refused" in capsys.readouterr().err
    assert all_texts(server) == ["text a", "text b"]
    assert stored(postgres) == 2


def test_new_content_of_a_file_is_embedded_in_place_of_the_old(
    folder: Path, postgres: str, server: HttpVendorServer
) -> None:
    configure(folder, server)
    path = folder / "inbox" / "a.txt"
    path.write_text("text of old")
    assert run(["documents", "ingest"]) == 0
    path.write_text("text that is new")
    os.utime(path, (1_700_000_000, 1_700_000_000))

    assert run(["documents", "ingest"]) == 0

    assert all_texts(server) == ["text of old", "text that is new"]
    assert stored(postgres) == 1


def test_an_endpoint_that_is_down_fails_the_command_and_keeps_the_documents(
    folder: Path, server: HttpVendorServer, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(folder, server)
    (folder / "inbox" / "a.txt").write_text("text a")
    server.faults.append("500")

    assert run(["documents", "ingest"]) == 6

    assert "run `batch-assets documents embed`" in capsys.readouterr().err
    assert run(["documents", "search", "text"]) == 0
    assert run(["documents", "embed"]) == 0
