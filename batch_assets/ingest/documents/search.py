"""Search the text of documents, and show where in it the words of the query are.

What a word is, in the index and in a query, is decided in SQL alone (documents.search_terms,
documents.search_query), so that `SELECT * FROM documents.search('…')` finds the same.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

import psycopg
from psycopg.rows import class_row

from batch_assets.postgres.sql_files import read_query

# Characters of a snippet on each side of the first word found.
_SNIPPET_BEFORE, _SNIPPET_AFTER = 60, 140

# Scripts without spaces, as in documents.search_terms: their words are found as they stand.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{_UNSPACED}]+")
_WORD = re.compile(f"(?:(?![{_UNSPACED}])[^\\W_])+")
_EXCLUDED = re.compile(r'(?:^|(?<=\s))-(?:"[^"]*"?|[^\s"]+)')


@dataclass(frozen=True, slots=True)
class Hit:
    """One piece of a document that has every word of the query.

    Attributes:
        document_id: Row of documents.documents.
        source: Whose landing folder it came from.
        path: Relative to that folder.
        title: As the document says; None if it does not.
        ordinal: Number of the piece in its document, from 0.
        segment_kind: What the document is divided into: page, slide, sheet, section, message.
        segment_from: First of them that the piece touches, from 1.
        segment_to: Last of them.
        start_offset: Characters of the document's text before the piece.
        end_offset: Characters up to its end.
        rank: Higher is better; comparable within one query only.
        text: The piece.
        snippet: The part of the piece around the first word found, each word found within marks,
            line breaks as spaces.
    """

    document_id: int
    source: str
    path: str
    title: str | None
    ordinal: int
    segment_kind: str
    segment_from: int
    segment_to: int
    start_offset: int
    end_offset: int
    rank: float
    text: str
    snippet: str = ""


def search_documents(
    conn: psycopg.Connection,
    query: str,
    *,
    limit: int = 20,
    source: str | None = None,
    marks: tuple[str, str] = ("«", "»"),
) -> list[Hit]:
    """Find pieces of current documents that have every word of the query, the best first.

    Args:
        query: Words; `"..."` is a phrase, `-word` excludes. Characters of scripts without spaces
            that touch in the query touch in what is found; a single one is found anywhere.
        limit: Pieces at most; a document may give several.
        source: Only documents of this source.
        marks: What stands before and after each word found in a snippet.
    """
    with conn.cursor(row_factory=class_row(Hit)) as cursor:
        pieces = cursor.execute(
            read_query("search_documents"),
            # PostgreSQL knows no NUL, and no word has one.
            {"query": query.replace("\x00", " "), "limit": limit, "source": source},
        ).fetchall()
    pattern = _pattern_of(conn, query, pieces)
    return [replace(piece, snippet=_snippet(piece.text, pattern, marks)) for piece in pieces]


def _pattern_of(
    conn: psycopg.Connection, query: str, pieces: Sequence[Hit]
) -> "re.Pattern[str] | None":
    """What to mark in these pieces: runs of the query as they are, words with an equal stem."""
    wanted = _EXCLUDED.sub(" ", unicodedata.normalize("NFKC", query))
    runs = set(_RUN.findall(wanted))
    words = _words_alike(conn, set(_WORD.findall(wanted)), pieces)
    parts = [re.escape(run) for run in sorted(runs, key=len, reverse=True)]
    parts += [f"(?<![^\\W_{_UNSPACED}]){re.escape(word)}(?![^\\W_{_UNSPACED}])" for word in words]
    return re.compile("|".join(parts)) if parts else None


def _words_alike(conn: psycopg.Connection, wanted: set[str], pieces: Sequence[Hit]) -> list[str]:
    if not (wanted and pieces):
        return []
    lexemes = conn.execute(
        "SELECT tsvector_to_array(documents.search_vector(%s))", (" ".join(wanted),)
    ).fetchone()
    found = {word for piece in pieces for word in _WORD.findall(piece.text)}
    rows = conn.execute(
        read_query("mark_document_words"),
        {"words": sorted(found), "lexemes": lexemes[0] if lexemes else []},
    ).fetchall()
    return [word for (word,) in rows]


def _snippet(text: str, pattern: "re.Pattern[str] | None", marks: tuple[str, str]) -> str:
    first = pattern.search(text) if pattern else None
    middle = first.start() if first else 0
    start = max(0, middle - _SNIPPET_BEFORE)
    end = min(len(text), middle + _SNIPPET_AFTER)
    part = text[start:end]
    if pattern:
        part = pattern.sub(lambda match: f"{marks[0]}{match[0]}{marks[1]}", part)
    return f"{'…' if start else ''}{' '.join(part.split())}{'…' if end < len(text) else ''}"
