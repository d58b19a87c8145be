"""Write one group of documents: rows, texts, chunks and the state of their files.

Everything is done in the caller's transaction and may be done again in another one. Whether a
file is still what was read is decided here, under its lock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg.rows import class_row

from batch_assets.errors import LedgerImbalance
from batch_assets.ingest.documents.advice import dead_letter_of
from batch_assets.ingest.documents.read import ClaimedFile, FileFault, Finished, Kind
from batch_assets.ingest.documents.tables import (
    CHUNKS,
    DOCUMENTS,
    TEXTS,
    chunk_rows,
    content_columns,
    instant_of,
)
from batch_assets.loading.append import append_rows
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.streams import Part
from batch_assets.postgres.sql_files import read_query


@dataclass(frozen=True, slots=True)
class DocumentReport:
    """What became of one file, committed.

    Attributes:
        path: Relative to the landing folder.
        kind: What was done.
        outcome: A DocumentOutcome or FileFault; empty for a file that changed meanwhile.
        reason: Empty for ok.
        document_id: Row of documents.documents; None where there is none.
        segments: Pages, slides, sheets ...
        chunks: Pieces of text.
        seconds: A worker took.
    """

    path: str
    kind: Kind
    outcome: str
    reason: str = ""
    document_id: int | None = None
    segments: int = 0
    chunks: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Version:
    document_id: int
    path: str
    version: int
    is_current: bool
    sha256: str | None
    outcome: str


@dataclass(slots=True)
class GroupWriter:
    """Writes one group in one transaction; made anew for each attempt.

    Attributes:
        reports: One for each file, after `write`.
    """

    conn: psycopg.Connection
    source: str
    load_id: int
    group: Sequence[Finished]
    reports: list[DocumentReport] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)
    _document_ids: dict[str, int] = field(default_factory=dict)
    _moved: set[int] = field(default_factory=set)

    def write(self) -> Part:
        """Write the group; the caller commits.

        Raises:
            LedgerImbalance: The server holds other rows than were written.
        """
        mine = self._still_claimed()
        touched = sorted(
            {item.file.path for item in mine} | {item.twin.path for item in mine if item.twin}
        )
        before = self._count_ok(touched)
        versions = self._versions(mine)
        self._retire(mine, versions)
        written = [item for item in mine if self._write_recognised(item, versions)]
        self._write_read([item for item in mine if item.kind is Kind.READ], versions)
        self._drop_texts(versions)
        kept = {item.file.path for item in written}
        skipped = [item for item in self.group if item.file.path not in kept]
        self._finish(written, skipped)
        self._check_count(before, self._count_ok(touched))
        return Part(
            ledger=self._ledger(len(skipped)),
            rejected=[dead_letter_of(item) for item in written if item.outcome != "ok"],
            settled_files=[item.file.path for item in written],
        )

    def _still_claimed(self) -> list[Finished]:
        """The files that are what they were when they were claimed, locked."""
        rows = self.conn.execute(
            "SELECT path, size_bytes, modified_ns FROM documents.files WHERE source = %s "
            "AND path = ANY (%s) AND claimed_by = %s AND state = 'waiting' "
            "ORDER BY path FOR UPDATE",
            (self.source, [item.file.path for item in self.group], self.load_id),
        ).fetchall()
        found = {path: (size, modified) for path, size, modified in rows}
        return [
            item
            for item in self.group
            if item.kind is not Kind.SKIPPED
            and found.get(item.file.path) == (item.file.size_bytes, item.file.modified_ns)
        ]

    def _versions(self, mine: Sequence[Finished]) -> dict[str, list[_Version]]:
        """All versions known at the paths of the group, the newest first."""
        with self.conn.cursor(row_factory=class_row(_Version)) as cursor:
            rows = cursor.execute(
                "SELECT document_id, path, version, is_current, sha256, outcome "
                "FROM documents.documents WHERE source = %s AND path = ANY (%s) "
                "ORDER BY path, version DESC FOR UPDATE",
                (self.source, [item.file.path for item in mine]),
            ).fetchall()
        versions: dict[str, list[_Version]] = {item.file.path: [] for item in mine}
        for row in rows:
            versions[row.path].append(row)
        return versions

    def _retire(self, mine: Sequence[Finished], versions: Mapping[str, list[_Version]]) -> None:
        """Make way: older versions are no longer current, a row that is written again goes."""
        replaced: list[int] = []
        retired: list[int] = []
        for item in mine:
            current = _current(versions[item.file.path])
            if current is None or item.kind is Kind.UNCHANGED:
                continue
            if item.kind is Kind.FAULT:
                continue
            is_same = current.sha256 == item.sha256 and item.kind is not Kind.RENAMED
            (replaced if is_same else retired).append(current.document_id)
        self.conn.execute(
            "DELETE FROM documents.documents WHERE document_id = ANY (%s)", (replaced,)
        )
        self.conn.execute(
            "UPDATE documents.documents SET is_current = false WHERE document_id = ANY (%s)",
            (retired,),
        )

    def _write_recognised(self, item: Finished, versions: Mapping[str, list[_Version]]) -> bool:
        """Write what needed no reading; false where its twin has changed meanwhile."""
        path = item.file.path
        match item.kind:
            case Kind.UNCHANGED:
                current = _current(versions[path])
                is_back = self._bring_back(current)
                self._counts["updated" if is_back else "unchanged"] += 1
                self._report(item, current.document_id if current else None)
            case Kind.FAULT:
                self._counts["rejected"] += 1
                if item.outcome == FileFault.REFUSED:
                    self._hide(_current(versions[path]))
                self._report(item, None)
            case Kind.COPIED | Kind.RENAMED:
                return self._write_twin(item, versions[path])
        return True

    def _bring_back(self, current: _Version | None) -> bool:
        if current is None:
            return False
        return (
            self.conn.execute(
                "UPDATE documents.documents SET deleted_at = NULL "
                "WHERE document_id = %s AND deleted_at IS NOT NULL",
                (current.document_id,),
            ).rowcount
            == 1
        )

    def _hide(self, current: _Version | None) -> None:
        # What was at this path is a link now: its former content is not there any more.
        if current is not None:
            self.conn.execute(
                "UPDATE documents.documents SET deleted_at = clock_timestamp() "
                "WHERE document_id = %s AND deleted_at IS NULL",
                (current.document_id,),
            )

    def _write_twin(self, item: Finished, versions: Sequence[_Version]) -> bool:
        twin = item.twin
        assert twin is not None  # noqa: S101 - FileReader gives these kinds a twin
        known = _same_content(item, versions) if item.kind is Kind.COPIED else None
        # Two new names of one file that is gone: the first is its new name, the second a copy.
        is_rename = item.kind is Kind.RENAMED and twin.document_id not in self._moved
        document_id = twin.document_id if is_rename else self._id_for(known)
        row = self.conn.execute(
            read_query("rename_document" if is_rename else "copy_document"),
            {
                "twin_id": twin.document_id,
                "old_path": twin.path,
                "document_id": document_id,
                "source": self.source,
                "path": item.file.path,
                "version": _next_version(known, versions),
                "arrival_day": item.file.arrival_day,
                "modified_at": instant_of(item.file.modified_ns),
                "sha256": item.sha256,
                "load_id": self.load_id,
            },
        ).fetchone()
        if row is None:
            # Its text is gone or another: whoever was first. What made way for it comes back.
            self._restore(versions)
            return False
        self._moved.add(twin.document_id)
        self._document_ids[item.file.path] = document_id
        was_ok = known is not None and known.outcome == "ok"
        self._counts["updated" if is_rename or was_ok else "inserted"] += 1
        self._report(item, document_id, chunks=row[0], segments=row[1])
        return True

    def _restore(self, versions: Sequence[_Version]) -> None:
        current = _current(versions)
        if current is not None:
            self.conn.execute(
                "UPDATE documents.documents SET is_current = true WHERE document_id = %s",
                (current.document_id,),
            )

    def _write_read(
        self, items: Sequence[Finished], versions: Mapping[str, list[_Version]]
    ) -> None:
        rows: list[Mapping[str, object]] = []
        texts: list[Mapping[str, object]] = []
        chunks: list[Mapping[str, object]] = []
        for item in items:
            known = _same_content(item, versions[item.file.path])
            document_id = self._id_for(known)
            self._document_ids[item.file.path] = document_id
            content = content_columns(item.reply)
            rows.append(
                {
                    "document_id": document_id,
                    "source": self.source,
                    "version": _next_version(known, versions[item.file.path]),
                    **_file_columns(item),
                    **content,
                }
            )
            if item.reply is not None and item.reply.document is not None:
                texts.append({"document_id": document_id, "text": item.reply.document.text})
                chunks.extend(chunk_rows(document_id, item.reply))
            self._count_read(item, known)
            self._report(
                item,
                document_id,
                chunks=len(item.reply.chunks) if item.reply else 0,
                segments=len(item.reply.document.segments)
                if item.reply and item.reply.document
                else 0,
            )
        for contract, table_rows in ((DOCUMENTS, rows), (TEXTS, texts), (CHUNKS, chunks)):
            append_rows(self.conn, contract, self.load_id, table_rows)

    def _count_read(self, item: Finished, known: _Version | None) -> None:
        was_ok = known is not None and known.outcome == "ok"
        if item.outcome != "ok":
            self._counts["rejected"] += 1
            self._counts["deleted"] += was_ok
        else:
            self._counts["updated" if was_ok else "inserted"] += 1

    def _id_for(self, known: _Version | None) -> int:
        """The number of a document: the same as long as its content is."""
        if known is not None:
            return known.document_id
        row = self.conn.execute("SELECT nextval('documents.document_ids')").fetchone()
        assert row is not None  # noqa: S101 - a sequence always answers
        return int(row[0])

    def _drop_texts(self, versions: Mapping[str, list[_Version]]) -> None:
        """Only the current version of a file can be searched."""
        known = [version.document_id for path in versions.values() for version in path]
        statements: tuple[LiteralString, ...] = (
            "DELETE FROM documents.chunks WHERE document_id IN "
            "(SELECT document_id FROM documents.documents "
            "WHERE document_id = ANY (%s) AND NOT is_current)",
            "DELETE FROM documents.texts WHERE document_id IN "
            "(SELECT document_id FROM documents.documents "
            "WHERE document_id = ANY (%s) AND NOT is_current)",
        )
        for statement in statements:
            self.conn.execute(statement, (known,))

    def _finish(self, written: Sequence[Finished], skipped: Sequence[Finished]) -> None:
        items = [*((item, False) for item in written), *((item, True) for item in skipped)]
        self.conn.execute(
            read_query("finish_documents"),
            {
                "source": self.source,
                "load_id": self.load_id,
                "paths": [item.file.path for item, _ in items],
                "outcomes": [item.outcome for item, _ in items],
                "reasons": [item.reason for item, _ in items],
                "sha256s": [item.sha256 for item, _ in items],
                "document_ids": [self._document_ids.get(item.file.path) for item, _ in items],
                "are_skipped": [is_skipped for _, is_skipped in items],
            },
        )
        for item in skipped:
            self.reports.append(DocumentReport(item.file.path, Kind.SKIPPED, ""))

    def _count_ok(self, paths: Iterable[str]) -> int:
        row = self.conn.execute(
            "SELECT count(*) FROM documents.documents "
            "WHERE source = %s AND path = ANY (%s) AND outcome = 'ok'",
            (self.source, list(paths)),
        ).fetchone()
        return int(row[0]) if row else 0

    def _check_count(self, before: int, after: int) -> None:
        expected = before + self._counts["inserted"] - self._counts["deleted"]
        if after != expected:
            raise LedgerImbalance(
                f"documents of {self.source}: {after} documents are there after the group, "
                f"expected {expected} ({before} before, {dict(self._counts)}); nothing was "
                "published; report this with the names of the files"
            )

    def _ledger(self, skipped: int) -> Ledger:
        counts = self._counts
        return Ledger(
            read=len(self.group),
            inserted=counts["inserted"],
            updated=counts["updated"],
            unchanged=counts["unchanged"],
            rejected=counts["rejected"],
            skipped=skipped,
            deleted=counts["deleted"],
        )

    def _report(
        self, item: Finished, document_id: int | None, *, chunks: int = 0, segments: int = 0
    ) -> None:
        self.reports.append(
            DocumentReport(
                path=item.file.path,
                kind=item.kind,
                outcome=str(item.outcome),
                reason=item.reason,
                document_id=document_id,
                segments=segments,
                chunks=chunks,
                seconds=item.seconds,
            )
        )


def _current(versions: Sequence[_Version]) -> _Version | None:
    return next((version for version in versions if version.is_current), None)


def _same_content(item: Finished, versions: Sequence[_Version]) -> _Version | None:
    """The version that is written again, because its content is the same."""
    current = _current(versions)
    return current if current is not None and current.sha256 == item.sha256 else None


def _next_version(known: _Version | None, versions: Sequence[_Version]) -> int:
    if known is not None:
        return known.version
    return versions[0].version + 1 if versions else 1


def _file_columns(item: Finished) -> Mapping[str, object]:
    file: ClaimedFile = item.file
    return {
        "path": file.path,
        "arrival_day": file.arrival_day,
        "sha256": item.sha256,
        "size_bytes": file.size_bytes,
        "modified_at": instant_of(file.modified_ns),
        "outcome": str(item.outcome),
        "reason": item.reason,
        "parse_seconds": item.seconds,
        "peak_memory_bytes": item.peak_memory_bytes,
    }
