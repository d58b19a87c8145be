"""Which rows of a window the target has already, without sending them.

A publish leaves a hash of each row it brought, and by which transactions the rows of the window
were written. The next load asks for the latter again, inside its publishing transaction: as long as
the answer is the same, nobody has written to the window, and a row whose hash is known is in the
table. All other rows are sent and compared by the server. Nothing here commits.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import TableContract, Window
from batch_assets.loading.hash_changes import HashChanges, KnownHashes, as_bytes
from batch_assets.loading.loads import LoadContext
from batch_assets.loading.merge import Target
from batch_assets.loading.prepare import PreparedWindow
from batch_assets.loading.row_hashes import ALGORITHM, Booleans, Hashes, hash_each_row
from batch_assets.loading.windows import window_arrays, window_bounds
from batch_assets.postgres.names import table_identifier
from batch_assets.postgres.sql_files import read_query

# Sending fewer rows than this costs less than remembering them.
SMALLEST_WINDOW_ROWS = 500

# A first load of a window that ended longer ago leaves no hashes: corrections come late, and seldom
# later than a quarter, and for all of a history they would make its load a tenth dearer. What does
# change later is remembered from then on.
OLD_AFTER = timedelta(days=90)

# Written down as they are up to here, as a hash beyond.
_VERSIONS_LENGTH = 200

Versions = Mapping[str, int]
"""Rows of a window by the transaction that wrote them."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A window's rows, and which of them the target is known to have.

    Attributes:
        hashes: Of each row; None if none are kept of this window.
        former: What is known from the last publish; None if nothing is.
        is_known: Whether the target has each row; None if nothing is known.
    """

    item: PreparedWindow
    hashes: Hashes | None
    former: KnownHashes | None = None
    is_known: Booleans | None = None

    @classmethod
    def of(
        cls, contract: TableContract, item: PreparedWindow, former: KnownHashes | None = None
    ) -> "Compared":
        """Hash rows and look for them among known ones."""
        hashes = hash_window(contract, item)
        is_known = None if hashes is None or former is None else former.find(hashes)
        return cls(item, hashes, former, is_known)

    def changes(self) -> HashChanges | None:
        """What is to be written down of it, where that is little."""
        if self.hashes is None or self.former is None or self.is_known is None:
            return None
        return self.former.change_to(self.hashes, self.is_known)


def hash_window(contract: TableContract, item: PreparedWindow) -> Hashes | None:
    """A hash of each row; None for windows of which none is kept."""
    if item.rows.num_rows < SMALLEST_WINDOW_ROWS or not item.content_hash:
        return None
    # A contract that appends leaves a row with a known key as it is, whatever it says.
    is_append = contract.disposition is Disposition.APPEND
    names = contract.key if is_append else (*contract.key, *contract.compared_columns)
    # The scope is part of where hashes are found.
    return hash_each_row(item.rows, [n for n in names if n not in contract.scope_columns])


def is_likely_to_change(window: Window) -> bool:
    """Whether it pays to remember the first rows of a window; always where it has no end."""
    return window.ends_at is None or window.ends_at > datetime.now(UTC) - OLD_AFTER


def tells_versions(conn: psycopg.Connection, contract: TableContract) -> bool:
    """Whether a table says of each row which transaction wrote it, and stores what was sent."""
    row = conn.execute(
        "SELECT ops.tells_row_versions(to_regclass(%s))", (_table_name(conn, contract),)
    ).fetchone()
    return row is not None and row[0] is True


def read_versions(
    conn: psycopg.Connection, target: Target, windows: Sequence[Window]
) -> dict[str, dict[str, int]]:
    """Who wrote the rows of each window, by window key, now."""
    found: dict[str, dict[str, int]] = {window.key: {} for window in windows}
    parameters = {**window_arrays(windows), **window_bounds(windows)}
    statement = target.parts.write("read_row_versions", conn)
    for key, transaction, count in conn.execute(statement, parameters):
        found[key][transaction] = count
    return found


def count(versions: Mapping[str, Versions]) -> dict[str, int]:
    """Rows of each window."""
    return {key: sum(found.values()) for key, found in versions.items()}


def recall(
    conn: psycopg.Connection,
    context: LoadContext,
    windows: Sequence[Window],
    versions: Mapping[str, Versions],
) -> dict[str, KnownHashes]:
    """Hashes of rows that are in the target, by window key.

    Args:
        versions: Who wrote the rows of the windows, read in this transaction.
    """
    parameters = {
        **context.common(),
        "window_keys": [window.key for window in windows],
        "algorithm": ALGORITHM,
    }
    rows = conn.execute(read_query("read_row_hashes"), parameters, binary=True).fetchall()
    return {
        key: KnownHashes.of(whole, HashChanges(added, dropped))
        for key, known_versions, whole, added, dropped in rows
        if known_versions == _describe(versions[key])
    }


def remember(
    conn: psycopg.Connection,
    context: LoadContext,
    target: Target,
    windows: Iterable[tuple[Compared, Versions | None]],
) -> None:
    """Write down what the rows of windows say, for the next load of them.

    Args:
        windows: With who wrote their rows; None if this transaction has written all of them.
    """
    whole: list[tuple[_Row, bytes]] = []
    changed: list[tuple[_Row, HashChanges]] = []
    for window, versions in windows:
        if window.hashes is None:
            continue
        row = _Row(window.item, None if versions is None else _describe(versions))
        changes = window.changes()
        if changes is None:
            whole.append((row, as_bytes(window.hashes)))
        else:
            changed.append((row, changes))
    parameters = {
        **context.common(),
        "algorithm": ALGORITHM,
        "table": _table_name(conn, target.contract),
    }
    if whole:
        conn.execute(
            read_query("write_row_hashes"),
            {
                **parameters,
                **_arrays([row for row, _ in whole]),
                "row_counts": [row.item.rows.num_rows for row, _ in whole],
                "hashes": [hashes for _, hashes in whole],
            },
        )
    if changed:
        conn.execute(
            read_query("update_row_hashes"),
            {
                **parameters,
                **_arrays([row for row, _ in changed]),
                "added": [changes.added for _, changes in changed],
                "dropped": [changes.dropped for _, changes in changed],
            },
        )


@dataclass(frozen=True, slots=True)
class _Row:
    item: PreparedWindow
    versions: str | None


def _arrays(rows: Sequence[_Row]) -> dict[str, list[object]]:
    return {
        "window_keys": [row.item.window.key for row in rows],
        "content_hashes": [row.item.content_hash for row in rows],
        "row_versions": [row.versions for row in rows],
    }


def _describe(versions: Versions) -> str:
    text = ",".join(f"{number}:{count}" for number, count in sorted(versions.items()))
    if len(text) <= _VERSIONS_LENGTH:
        return text
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _table_name(conn: psycopg.Connection, contract: TableContract) -> str:
    return table_identifier(contract.target).as_string(conn)
