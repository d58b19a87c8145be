"""Verdicts about documents and their files, for the arrival days of one run.

All of them read what is stored; none of them trusts the load that it judges.
"""

from collections.abc import Sequence
from datetime import date

import psycopg

from batch_assets.postgres.sql_files import read_query
from batch_assets.quality.verdict import Level, Verdict

# Documents and pieces of each that are cut out of the text again: 200 at most, well under a second.
SAMPLED_DOCUMENTS = 20
SAMPLED_CHUNKS = 10


def judge_file_states(conn: psycopg.Connection, source: str, load_ids: Sequence[int]) -> Verdict:
    """Every file that was there when its day was loaded has ended, in exactly one state.

    A path has one row and a row one state; what could be wrong is that a file was forgotten, is
    still claimed, or is called done without a document.
    """
    row = conn.execute(
        read_query("check_document_files"), {"source": source, "load_ids": list(load_ids)}
    ).fetchone()
    unbalanced, left, files, done, failed, unended, claimed, bare = row or (0,) * 8
    forgotten = max(0, unended - left)
    wrong = {
        "forgotten": forgotten,
        "still claimed": claimed,
        "called done without a document": bare,
    }
    seen = [f"{number} {what}" for what, number in wrong.items() if number]
    seen += [f"{unbalanced} loads do not balance"] if unbalanced else []
    left_open = files - done - failed
    return Verdict(
        level=Level.ERROR if seen else Level.OK,
        observed=f"{files} files: {done} done, {failed} failed, {left_open} for the next load"
        + "".join(f"; {text}" for text in seen),
        expected="each file that was there done or failed, and each file done with a document",
        figures={
            "files": files,
            "files_done": done,
            "files_failed": failed,
            "files_for_the_next_load": left_open,
            "files_forgotten": forgotten,
            "files_without_document": bare,
        },
    )


def judge_failures(
    found: int, failed: int, *, limit_documents: int, limit_ratio: float, over: Sequence[str]
) -> Verdict:
    """On no day do more documents fail than the source allows.

    Args:
        found: Files of all days.
        failed: Of them.
        limit_documents: Allowed on one day.
        limit_ratio: Allowed share of a day, 0 to 1.
        over: Keys of the days that are above either.
    """
    ratio = failed / found if found else 0.0
    days = f"; over the budget: {', '.join(over)}" if over else ""
    return Verdict(
        level=Level.ERROR if over else Level.OK,
        observed=f"{failed} of {found} documents failed ({ratio:.1%}){days}",
        expected=f"at most {limit_documents} and {limit_ratio:.1%} on each day",
        figures={"files": found, "files_failed": failed, "failure_ratio": ratio},
    )


def judge_open_dead_letters(conn: psycopg.Connection, source: str, days: Sequence[date]) -> Verdict:
    """Nobody has to look at a document of these days any more."""
    rows = conn.execute(
        "SELECT rule, count(*) FROM ops.dead_letters WHERE target = 'documents.documents' "
        "AND scope = %s AND window_key = ANY (%s) AND state = 'open' GROUP BY 1 ORDER BY 2 DESC, 1",
        (source, [day.isoformat() for day in days]),
    ).fetchall()
    number = sum(count for _, count in rows)
    reasons = ", ".join(f"{count} {rule}" for rule, count in rows)
    return Verdict(
        level=Level.WARN if number else Level.OK,
        observed=f"{number} open dead letters{f' ({reasons})' if reasons else ''}",
        expected=f"none; see `batch-assets documents errors --source {source}`",
        figures={"open_dead_letters": number},
    )


def judge_chunk_offsets(
    conn: psycopg.Connection, source: str, days: Sequence[date], *, seed: str
) -> Verdict:
    """Offsets of pieces point at exactly their text; a sample is cut out again.

    Args:
        seed: Chooses the sample.
    """
    row = conn.execute(
        read_query("check_chunk_offsets"),
        {
            "source": source,
            "days": list(days),
            "seed": seed,
            "documents": SAMPLED_DOCUMENTS,
            "chunks": SAMPLED_CHUNKS,
        },
    ).fetchone()
    documents, chunks, wrong, example = row or (0, 0, 0, None)
    return Verdict(
        level=Level.ERROR if wrong else Level.OK,
        observed=f"{wrong} of {chunks} pieces of {documents} documents are not where they say"
        + (f", for one {example}" if example else ""),
        expected="substr(text, start_offset + 1, end_offset - start_offset) is the piece",
        figures={
            "sampled_documents": documents,
            "sampled_chunks": chunks,
            "misplaced_chunks": wrong,
        },
    )
