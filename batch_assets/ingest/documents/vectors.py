"""The table of vectors, `documents.embeddings`, which only exists where embeddings are configured.

It is made here and not by a migration: migrations make the same schema on every server, and this
table needs the extension pgvector, which many servers do not have. Who fills it is
embed.py.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.rows import class_row

from batch_assets.errors import ConfigurationError
from batch_assets.execution.failpoints import reach
from batch_assets.postgres.sql_files import read_query


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk without a vector.

    Attributes:
        document_id: Of its document.
        ordinal: Number in its document, from 0.
        load_id: Load that wrote this text; another text under the same number has another one.
        text: What is embedded.
    """

    document_id: int
    ordinal: int
    load_id: int
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model made of a piece: a vector, or the reason why there is none."""

    piece: Piece
    vector: Sequence[float] | None
    reason: str = ""


def ensure_embedding_table(conn: psycopg.Connection) -> None:
    """Make the extension and the table where they are absent; several processes may do so at once.

    Args:
        conn: In autocommit mode; the two are committed together.

    Raises:
        ConfigurationError: The server has no pgvector, or the role may not make what is missing.
    """
    try:
        with conn.transaction():
            conn.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('batch_assets.embeddings', 0))"
            )
            vector = _find_vector_type(conn) or _create_extension(conn)
            # Also where it exists, IF NOT EXISTS wants the right to create.
            row = conn.execute("SELECT to_regclass('documents.embeddings')").fetchone()
            if row is None or row[0] is None:
                conn.execute(read_query("create_embeddings").format(vector=vector))
            conn.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE IF NOT EXISTS staged_embeddings (document_id bigint, "
                    "ordinal integer, load_id bigint, embedding {}, reason text) "
                    "ON COMMIT DELETE ROWS"
                ).format(vector)
            )
    except pg_errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"PostgreSQL: {error.diag.message_primary}; expected the right to make the extension "
            "vector and the table documents.embeddings; have an administrator run CREATE EXTENSION "
            "vector once, and use the role that owns the schema documents"
        ) from error


def _find_vector_type(conn: psycopg.Connection) -> sql.Identifier | None:
    row = conn.execute(
        "SELECT n.nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'vector'"
    ).fetchone()
    return sql.Identifier(row[0], "vector") if row else None


def _create_extension(conn: psycopg.Connection) -> sql.Identifier:
    try:
        # A schema of its own choice: the search path of the role may begin with any.
        conn.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
    except (pg_errors.FeatureNotSupported, pg_errors.UndefinedFile) as error:
        raise ConfigurationError(
            f"PostgreSQL: {error.diag.message_primary}; [documents.embedding] expects the "
            "extension vector (pgvector); install it on the server, or take the section out"
        ) from error
    return sql.Identifier("public", "vector")


def require_dimensions(conn: psycopg.Connection, model: str, dimensions: int) -> None:
    """Refuse to mix vectors of different length under one name of a model.

    Raises:
        ConfigurationError: The model's vectors that are there have other dimensions.
    """
    row = conn.execute(
        # As text, so that the function of the extension need not be on the search path.
        "SELECT array_length(string_to_array(embedding::text, ','), 1) FROM documents.embeddings "
        "WHERE model = %s AND embedding IS NOT NULL LIMIT 1",
        (model,),
    ).fetchone()
    if row is not None and row[0] != dimensions:
        raise ConfigurationError(
            f"vectors of model {model} in documents.embeddings have {row[0]} dimensions, "
            f"[documents.embedding] expects {dimensions}; correct dimensions, or delete the rows "
            "of that model to compute them again"
        )


def read_pieces(
    conn: psycopg.Connection, source: str, model: str, *, after: Piece | None, limit: int
) -> list[Piece]:
    """The next pieces of current documents without an answer of this model, in order."""
    with conn.cursor(row_factory=class_row(Piece)) as cursor:
        return cursor.execute(
            read_query("read_chunks_to_embed"),
            {
                "source": source,
                "model": model,
                "after_document_id": after.document_id if after else 0,
                "after_ordinal": after.ordinal if after else -1,
                "limit": limit,
            },
        ).fetchall()


def write_answers(conn: psycopg.Connection, model: str, answers: Sequence[Answer]) -> int:
    """Store the answers of pieces that are still what they were, committed together.

    Args:
        conn: The one of `ensure_embedding_table`.

    Returns:
        Rows stored; fewer than answers where documents were replaced meanwhile.
    """
    reach("embeddings.after_answer")
    with conn.transaction(), conn.cursor() as cursor:
        with cursor.copy("COPY staged_embeddings FROM STDIN") as copy:
            for answer in answers:
                piece, vector = answer.piece, answer.vector
                text = None if vector is None else f"[{','.join(map(repr, vector))}]"
                copy.write_row(
                    (piece.document_id, piece.ordinal, piece.load_id, text, answer.reason)
                )
        stored = cursor.execute(read_query("insert_embeddings"), {"model": model}).rowcount
        reach("embeddings.before_commit")
    reach("embeddings.after_commit")
    return stored


@contextmanager
def only_embedder(conn: psycopg.Connection, source: str, model: str) -> Iterator[bool]:
    """Whether this process alone embeds the source now; ends with the block or the connection.

    Two would store the same rows once, and pay for them twice.
    """
    name = f"batch_assets.embeddings {source} {model}"
    row = conn.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,)).fetchone()
    is_alone = bool(row and row[0])
    try:
        yield is_alone
    finally:
        if is_alone and not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (name,))
