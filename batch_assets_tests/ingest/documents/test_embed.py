"""Vectors of pieces of text: only missing ones, each batch kept, none that is out of date."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import ConfigurationError, SourceUnavailable
from batch_assets.ingest.documents.embed import EmbedCounts, embed_chunks
from batch_assets.ingest.documents.vectors import ensure_embedding_table, only_embedder
from batch_assets.postgres import migrate
from batch_assets.postgres.connect import connect
from batch_assets.sources.documents.embedding import TextsRefused
from batch_assets_tests.fakes.embedding_server import REFUSED, vector_of
from batch_assets_tests.ingest.documents.test_search import store

_PAGE = (Path(__file__).parents[3] / "docs" / "documents.md").read_text("utf-8")
_STATEMENTS = re.findall(r"```pgsql\n(.*?)```", _PAGE, re.DOTALL)


@dataclass
class Model:
    """An Embedder in this process.

    Attributes:
        before: Called with the number of the question, from 1.
        asked: Texts of each question.
    """

    model: str = "m"
    dimensions: int = 3
    batch_texts: int = 2
    before: Callable[[int], None] = lambda _number: None
    refuses: Callable[[str], bool] = lambda text: REFUSED in text
    asked: list[list[str]] = field(default_factory=list)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked.append(list(texts))
        self.before(len(self.asked))
        if any(map(self.refuses, texts)):
            raise TextsRefused("too long")
        return [vector_of(text) for text in texts]


@pytest.fixture
def database(postgres: str) -> str:
    with psycopg.connect(postgres) as conn:
        found = conn.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'")
        if found.fetchone() is None:
            pytest.skip("the server of this test run has no pgvector")
        for number in range(1, 6):
            store(conn, number, f"{number}.txt", f"text {number}")
    return postgres


def embed(url: str, model: Model, source: str = "inbox") -> EmbedCounts:
    return embed_chunks(partial(connect, url, application_name="test"), source, model)


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(query).fetchall()  # type: ignore[call-overload]


def vectors(url: str, model: str = "m") -> dict[object, object]:
    return dict(
        rows(
            url,
            "SELECT c.text, e.embedding::text FROM documents.embeddings AS e "
            f"JOIN documents.chunks AS c USING (document_id, ordinal) WHERE e.model = '{model}'",
        )
    )


def written(text: str) -> str:
    return f"[{','.join(f'{number:g}' for number in vector_of(text))}]"


def test_every_piece_gets_the_vector_of_its_text_in_batches(database: str) -> None:
    model = Model()

    counts = embed(database, model)

    assert counts == EmbedCounts("inbox", "m", read=5, embedded=5)
    assert [len(texts) for texts in model.asked] == [2, 2, 1]
    assert vectors(database) == {f"text {n}": written(f"text {n}") for n in range(1, 6)}


def test_second_time_asks_nothing_and_a_new_piece_alone_is_asked_for(database: str) -> None:
    embed(database, Model())
    again = Model()
    assert embed(database, again) == EmbedCounts("inbox", "m")
    assert again.asked == []

    with psycopg.connect(database) as conn:
        store(conn, 6, "6.txt", "text 6")

    assert embed(database, again).embedded == 1
    assert again.asked == [["text 6"]]


def test_other_sources_and_documents_that_are_not_current_are_left_alone(database: str) -> None:
    with psycopg.connect(database) as conn:
        store(conn, 6, "6.txt", "of another source", source="outbox")
        conn.execute(
            "UPDATE documents.documents SET deleted_at = now() WHERE document_id IN (1, 2)"
        )

    assert embed(database, Model()).embedded == 3
    assert set(vectors(database)) == {"text 3", "text 4", "text 5"}


def test_what_was_stored_before_a_failure_is_kept_and_not_asked_again(database: str) -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise SourceUnavailable("down")

    with pytest.raises(SourceUnavailable):
        embed(database, Model(before=fail))
    assert set(vectors(database)) == {"text 1", "text 2"}

    later = Model()
    assert embed(database, later).embedded == 3
    assert later.asked == [["text 3", "text 4"], ["text 5"]]


def test_a_refused_piece_costs_only_itself_and_is_not_asked_again(database: str) -> None:
    with psycopg.connect(database) as conn:
        store(conn, 6, "6.txt", f"{REFUSED} text")
        store(conn, 7, "7.txt", "text 7")
    model = Model(batch_texts=10)

    counts = embed(database, model)

    assert counts == EmbedCounts("inbox", "m", read=7, embedded=6, refused=1)
    assert vectors(database)[f"{REFUSED} text"] is None
    [(reason,)] = rows(database, "SELECT reason FROM documents.embeddings WHERE reason <> ''")
    assert reason == "too long"
    assert embed(database, again := Model()).read == 0
    assert again.asked == []


def test_a_model_that_refuses_everything_blames_no_text(database: str) -> None:
    with pytest.raises(TextsRefused):
        embed(database, Model(refuses=lambda _text: True))

    assert vectors(database) == {}


def test_a_document_replaced_while_its_text_is_embedded_gets_the_vector_of_its_new_text(
    database: str,
) -> None:
    def replace(number: int) -> None:
        if number == 1:
            with psycopg.connect(database) as conn:
                conn.execute("DELETE FROM documents.documents WHERE document_id = 1")
                store(conn, 1, "1.txt", "another text")
                conn.execute("UPDATE documents.chunks SET load_id = 2 WHERE document_id = 1")

    counts = embed(database, Model(before=replace))

    assert counts == EmbedCounts("inbox", "m", read=6, embedded=5, replaced=1)
    assert vectors(database)["another text"] == written("another text")


def test_a_piece_that_goes_takes_its_vectors_along(database: str) -> None:
    embed(database, Model())
    embed(database, Model(model="other"))

    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM documents.chunks WHERE document_id = 1")
        conn.execute("DELETE FROM documents.documents WHERE document_id = 2")

    assert rows(database, "SELECT count(*) FROM documents.embeddings") == [(6,)]


def test_models_of_different_dimensions_stand_side_by_side(database: str) -> None:
    embed(database, Model())
    longer = Model(model="longer", dimensions=4)
    longer.embed = lambda texts: [[*vector_of(text), 1.0] for text in texts]  # type: ignore[method-assign]

    assert embed(database, longer).embedded == 5
    assert len(vectors(database)) == len(vectors(database, "longer")) == 5
    with pytest.raises(ConfigurationError, match=r"have 3 dimensions.*expects 4"):
        embed(database, Model(dimensions=4))


def test_a_second_process_leaves_its_pieces_to_the_first(database: str) -> None:
    second: list[EmbedCounts] = []

    def arrive(number: int) -> None:
        # The first is at its last batch when more text and a second process come.
        if number == 3:
            with psycopg.connect(database) as conn:
                store(conn, 6, "0.txt", "late text")
                conn.execute("UPDATE documents.chunks SET ordinal = 0 WHERE document_id = 6")
            second.append(embed(database, idle))

    idle = Model()
    counts = embed(database, Model(before=arrive))

    assert [item.is_busy for item in second] == [True]
    assert idle.asked == []
    assert counts.embedded == 6
    assert not counts.is_busy


def test_only_embedder_is_free_again_after_its_block(database: str) -> None:
    first, second = (connect(database, application_name="test", autocommit=True) for _ in range(2))
    with first, second:
        with only_embedder(first, "inbox", "m") as alone:
            with only_embedder(second, "inbox", "m") as too:
                assert (alone, too) == (True, False)
            with only_embedder(second, "other", "m") as apart:
                assert apart
        with only_embedder(second, "inbox", "m") as later:
            assert later


def test_the_optional_table_is_no_difference_of_the_schema(database: str) -> None:
    embed(database, Model())
    with psycopg.connect(database) as conn:
        conn.execute("CREATE INDEX by_time ON documents.embeddings (embedded_at)")

    assert migrate.verify(database) == []


def test_a_role_that_may_not_make_the_table_is_told_what_to_do(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE ROLE embedder_without_rights")
        try:
            conn.execute("GRANT USAGE ON SCHEMA documents TO embedder_without_rights")
            conn.execute("SET ROLE embedder_without_rights")
            with pytest.raises(ConfigurationError, match="CREATE EXTENSION vector once"):
                ensure_embedding_table(conn)
        finally:
            conn.execute("RESET ROLE")
            conn.execute("DROP OWNED BY embedder_without_rights")
            conn.execute("DROP ROLE embedder_without_rights")


def test_statements_of_the_page_find_the_nearest_piece(database: str) -> None:
    nearest = Model(model="nomic-embed-text")
    nearest.embed = lambda texts: [  # type: ignore[method-assign]
        [1.0, 0.0, 0.0] if text == "text 4" else [0.0, 1.0, float(text[-1])] for text in texts
    ]
    embed(database, nearest)

    assert len(_STATEMENTS) == 3
    with psycopg.connect(database) as conn:
        found = [
            cursor.fetchall() if (cursor := conn.execute(text)).description else []
            for text in _STATEMENTS
        ]
    assert found[0][0][:1] == ("4.txt",)
    assert len(found[0]) == 5
