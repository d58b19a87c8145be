"""Embed pieces of text: chunks without a vector -> model -> documents.embeddings.

Off unless `[documents.embedding]` is configured. Each batch is committed by itself, so what a
crash or a refusal leaves out is what the next call begins with.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

import psycopg

from batch_assets.ingest.documents.vectors import (
    Answer,
    Piece,
    ensure_embedding_table,
    only_embedder,
    read_pieces,
    require_dimensions,
    write_answers,
)
from batch_assets.loading.leases import Connector
from batch_assets.postgres.connect import translating_errors
from batch_assets.settings import Settings
from batch_assets.sources.documents.embedding import (
    Embedder,
    TextsRefused,
    read_embedding_settings,
)

# Any model takes it: where it is refused, not the texts are what is wrong.
_HARMLESS_TEXT = "text"


@dataclass(slots=True)
class EmbedCounts:
    """What one call did; pieces read = embedded + refused + replaced.

    Attributes:
        source: Whose documents.
        model: Which vectors.
        read: Pieces that had no answer of the model.
        embedded: Pieces that have a vector now.
        refused: Pieces that the model does not take; kept with the reason, not asked again.
        replaced: Pieces whose document was replaced or deleted meanwhile.
        is_busy: Another process is embedding this source, and takes what is left.
    """

    source: str
    model: str
    read: int = 0
    embedded: int = 0
    refused: int = 0
    replaced: int = 0
    is_busy: bool = False


def embed_if_configured(connect: Connector, settings: Settings, source: str) -> EmbedCounts | None:
    """Embed what a source has left, with the endpoint of the configuration; None without one.

    Raises:
        ConfigurationError: The section is wrong, its token is missing, or the server has no
            pgvector.
        BatchAssetsError: As `embed_chunks`.
    """
    section = read_embedding_settings(settings)
    if section is None:
        return None
    # An HTTP client takes longer to import than everything else here; most need none.
    from batch_assets.sources.documents.embedding_http import open_embedder

    with open_embedder(settings, section) as embedder:
        return embed_chunks(connect, source, embedder)


def embed_chunks(connect: Connector, source: str, embedder: Embedder) -> EmbedCounts:
    """Give every piece of a source's current documents a vector, batch by batch.

    Pieces that have one of this model are left alone. A piece that goes takes its vector along.

    Raises:
        ConfigurationError: The server has no pgvector, or vectors of other dimensions.
        SourceUnavailable: The model does not answer; batches before it are stored.
        SourceRefused: It takes no question of ours.
        TextsRefused: It takes no text at all.
        ContractError: It answers something else than was asked for.
        DatabaseUnavailable: The database failed.
    """
    with translating_errors(), closing(connect()) as conn:
        # No transaction is open while a model computes.
        conn.autocommit = True
        ensure_embedding_table(conn)
        require_dimensions(conn, embedder.model, embedder.dimensions)
        embedding = _Embedding(conn, source, embedder, EmbedCounts(source, embedder.model))
        # Looked at again after the lock is free: who came meanwhile left its pieces to us.
        while embedding.has_more():
            with only_embedder(conn, source, embedder.model) as is_alone:
                embedding.counts.is_busy = not is_alone
                if not is_alone:
                    break
                embedding.run()
        return embedding.counts


@dataclass(slots=True)
class _Embedding:
    """One call."""

    conn: psycopg.Connection
    source: str
    embedder: Embedder
    counts: EmbedCounts
    _has_answered: bool = field(default=False)

    def has_more(self) -> bool:
        return bool(read_pieces(self.conn, self.source, self.embedder.model, after=None, limit=1))

    def run(self) -> None:
        """One pass over the pieces that have no answer."""
        last: Piece | None = None
        limit = self.embedder.batch_texts
        while pieces := read_pieces(
            self.conn, self.source, self.embedder.model, after=last, limit=limit
        ):
            answers = self._answers(pieces)
            stored = write_answers(self.conn, self.embedder.model, answers)
            refused = sum(answer.vector is None for answer in answers)
            self._count(len(pieces), refused, stored)
            last = pieces[-1]

    def _count(self, read: int, refused: int, stored: int) -> None:
        counts = self.counts
        replaced = read - stored
        counts.read += read
        counts.replaced += replaced
        counts.refused += min(refused, stored)
        counts.embedded += stored - min(refused, stored)

    def _answers(self, pieces: Sequence[Piece]) -> list[Answer]:
        """An answer for each piece; those that are refused are found by halving."""
        try:
            vectors = self.embedder.embed([piece.text for piece in pieces])
        except TextsRefused as refusal:
            self._require_any_answer(refusal)
            if len(pieces) == 1:
                return [Answer(pieces[0], None, str(refusal))]
            half = len(pieces) // 2
            return [*self._answers(pieces[:half]), *self._answers(pieces[half:])]
        self._has_answered = True
        return [Answer(piece, vector) for piece, vector in zip(pieces, vectors, strict=True)]

    def _require_any_answer(self, refusal: TextsRefused) -> None:
        """Raise the refusal where the model takes nothing at all: then no text is at fault."""
        if self._has_answered:
            return
        try:
            self.embedder.embed([_HARMLESS_TEXT])
        except TextsRefused:
            raise refusal from None
        self._has_answered = True
