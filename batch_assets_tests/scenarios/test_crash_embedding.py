"""An embedding that is killed anywhere: no vector is lost or doubled, one batch is asked again."""

import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import psycopg
import pytest

from batch_assets.execution import failpoints
from batch_assets.ingest.documents.embed import EmbedCounts, embed_chunks
from batch_assets.postgres.connect import connect
from batch_assets.sources.documents.embedding import EmbeddingSettings
from batch_assets.sources.documents.embedding_http import HttpEmbedder
from batch_assets_tests.fakes.embedding_server import (
    DIMENSIONS,
    all_texts,
    answer_with,
    vector_of,
)
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.ingest.documents.test_search import store

PIECES = 20
BATCH = 4


def embed(url: str, base_url: str) -> EmbedCounts:
    section = EmbeddingSettings(
        base_url=base_url, model="m", dimensions=DIMENSIONS, batch_texts=BATCH
    )
    with HttpEmbedder(section) as embedder:
        return embed_chunks(partial(connect, url, application_name="test"), "inbox", embedder)


def has_vectors(conn: psycopg.Connection) -> bool:
    found = conn.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'")
    return found.fetchone() is not None


@pytest.mark.parametrize(
    ("failpoint", "kept_batches"),
    [
        ("embeddings.after_answer=kill@3", 2),
        pytest.param("embeddings.before_commit=kill@3", 2, marks=pytest.mark.crash),
        pytest.param("embeddings.after_commit=kill@3", 3, marks=pytest.mark.crash),
    ],
)
def test_killed_embedding_is_continued(postgres: str, failpoint: str, kept_batches: int) -> None:
    texts = [f"text {number}" for number in range(1, PIECES + 1)]
    with psycopg.connect(postgres) as conn:
        if not has_vectors(conn):
            pytest.skip("the server of this test run has no pgvector")
        for number, text in enumerate(texts, start=1):
            store(conn, number, f"{number}.txt", text)

    with HttpVendorServer(answer_with(lambda items: items.reverse())) as server:
        base_url = f"{server.base_url}/v1"
        command = [sys.executable, "-m", __spec__.name, failpoint, postgres, base_url]
        killed = subprocess.run(command, check=False, timeout=60, cwd=Path(__file__).parents[2])
        with psycopg.connect(postgres) as conn:
            kept = conn.execute("SELECT count(*) FROM documents.embeddings").fetchall()
        counts = embed(postgres, base_url)
        asked = Counter(all_texts(server))

    assert killed.returncode == -signal.SIGKILL
    assert kept == [(kept_batches * BATCH,)]
    assert (counts.read, counts.embedded) == (PIECES - kept[0][0], PIECES - kept[0][0])
    with psycopg.connect(postgres) as conn:
        stored = conn.execute(
            "SELECT c.text, e.embedding::text FROM documents.embeddings AS e "
            "JOIN documents.chunks AS c USING (document_id, ordinal)"
        ).fetchall()
    assert sorted(stored) == sorted(
        (text, f"[{','.join(f'{number:g}' for number in vector_of(text))}]") for text in texts
    )
    again = {text for text, times in asked.items() if times > 1}
    assert len(again) == (3 - kept_batches) * BATCH
    assert set(asked) == set(texts)
    assert max(asked.values()) <= 2


if __name__ == "__main__":
    failpoints.arm(sys.argv[1])
    embed(*sys.argv[2:])
