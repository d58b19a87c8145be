"""Make prepared rows visible, inside the caller's transaction.

An empty window is copied straight into the target. Of a window with rows, those that the target is
known to have stay here; the others go through a staging table, and only new and changed rows are
written: an unchanged row costs no WAL. Nothing here commits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import psycopg

from batch_assets.contracts.table import Window
from batch_assets.contracts.window_checks import Finding
from batch_assets.errors import LedgerImbalance
from batch_assets.loading.copy import copy_batches
from batch_assets.loading.difference import Difference
from batch_assets.loading.known_rows import (
    Compared,
    count,
    is_likely_to_change,
    read_versions,
    remember,
)
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import LoadContext
from batch_assets.loading.merge import Target, with_load_id
from batch_assets.loading.prepare import PreparedWindow
from batch_assets.loading.report import LoadState, PublishPath, RecognisedBy
from batch_assets.loading.window_checks import find_incomplete
from batch_assets.loading.windows import KnownWindow, count_windows, read_windows

_PARTIAL = LoadState.PARTIAL.value


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing did to one window, by the server's counts.

    Attributes:
        finding: Why the window is not complete; None if nothing says so.
    """

    ledger: Ledger
    path: PublishPath
    recognised_by: RecognisedBy | None
    rows_before: int
    rows_after: int
    finding: Finding | None = None

    @property
    def state(self) -> LoadState:
        """How the load of the window ends."""
        return LoadState.PARTIAL if self.finding else LoadState.SUCCESS

    @property
    def reason(self) -> str:
        """Why it is not plain success."""
        return self.finding.reason if self.finding else ""

    @property
    def message(self) -> str:
        """The same in words."""
        return self.finding.message if self.finding else ""


def publish_windows(
    conn: psycopg.Connection,
    context: LoadContext,
    target: Target,
    windows: Sequence[PreparedWindow],
    load_ids: Mapping[str, int],
    *,
    force: bool = False,
    before_checks: Callable[[], object] = lambda: None,
) -> dict[str, Published]:
    """Publish windows whose leases are held.

    Args:
        load_ids: ops.loads row by window key.
        force: Compare row by row even where the content hash says nothing changed.
        before_checks: Called when the rows are there, before windows are compared with others.

    Returns:
        What happened, by window key.

    Raises:
        LedgerImbalance: The server's counts do not add up; the caller rolls back.
        WindowRuleBroken: A window check forbids it; the caller rolls back.
    """
    keys = [item.window for item in windows]
    versions = read_versions(conn, target, keys) if target.tells_versions else None
    before = count_windows(conn, target.parts, keys) if versions is None else count(versions)
    # Rows that come to an empty window are new; asking what it held would be a trip for nothing.
    are_new = all(item.rows.num_rows and not before[item.window.key] for item in windows)
    known = {} if force or are_new else read_windows(conn, context, keys)
    results, direct, merged = _divide(windows, known, context, before)
    after: dict[str, int] = {}
    if direct:
        after |= _copy(conn, context, target, direct, load_ids)
    for item in direct:
        key = item.window.key
        counts = Ledger(inserted=after[key] - before[key])
        results[key] = checked_publish(item, counts, PublishPath.DIRECT, before[key], after[key])
    if merged:
        difference = Difference(conn, context, target, merged, load_ids, before, versions)
        stored, rows_after = difference.publish(force=force)
        after |= rows_after
    for item in merged:
        key = item.window.key
        results[key] = checked_publish(
            item, stored[load_ids[key]], PublishPath.MERGE, before[key], after[key]
        )
    # Rows that are the same again were judged when they came, but what they lack may be known now.
    doubtful = {k: before[k] for k in results if k not in after and known[k].state == _PARTIAL}
    if context.contract.window_checks:
        before_checks()
    written = (*direct, *merged)
    whole = {i.window.key: i.rows for i in written if i.rows.num_rows == after[i.window.key]}
    findings = find_incomplete(conn, context, {**after, **doubtful}, whole)
    return {key: replace(item, finding=findings.get(key)) for key, item in results.items()}


def _divide(
    windows: Sequence[PreparedWindow],
    known: Mapping[str, KnownWindow],
    context: LoadContext,
    before: Mapping[str, int],
) -> tuple[dict[str, Published], list[PreparedWindow], list[PreparedWindow]]:
    """Results of windows that say the same again, empty windows, and those that have rows."""
    results: dict[str, Published] = {}
    direct: list[PreparedWindow] = []
    merged: list[PreparedWindow] = []
    for item in windows:
        key = item.window.key
        if _is_same_content(item, known.get(key), context, before[key]):
            results[key] = _unchanged(item, before[key])
        elif before[key] == 0:
            direct.append(item)
        else:
            merged.append(item)
    return results, direct, merged


def _is_same_content(
    item: PreparedWindow, known: KnownWindow | None, context: LoadContext, rows_before: int
) -> bool:
    return (
        known is not None
        and known.content_hash == item.content_hash
        and known.is_as_published(context.contract.fingerprint, rows_before)
    )


def _unchanged(item: PreparedWindow, rows_before: int) -> Published:
    counts = Ledger(unchanged=item.rows.num_rows)
    return Published(
        ledger=_complete(item, counts),
        path=PublishPath.NONE,
        recognised_by=RecognisedBy.CONTENT_HASH,
        rows_before=rows_before,
        rows_after=rows_before,
    )


def _complete(item: PreparedWindow, counts: Ledger) -> Ledger:
    """Add what the reader and the validation counted to the server's counts."""
    kept_out = Ledger(
        read=item.read,
        duplicate=item.duplicate,
        rejected=len(item.rejected),
        skipped=item.skipped,
    )
    ledger = counts + kept_out
    ledger.check(item.window.key)
    return ledger


def checked_publish(
    item: PreparedWindow, counts: Ledger, path: PublishPath, before: int, after: int
) -> Published:
    """What publishing did, once the server's counts agree; see check_target."""
    check_target(item.window, counts, before, after)
    return Published(
        ledger=_complete(item, counts),
        path=path,
        recognised_by=RecognisedBy.DIFFERENCE if counts.unchanged else None,
        rows_before=before,
        rows_after=after,
    )


def check_target(window: Window, counts: Ledger, before: int, after: int) -> None:
    """The target has exactly the rows that the counts say.

    Raises:
        LedgerImbalance: Somebody else wrote to the window, or the counts are wrong.
    """
    if after != before + counts.inserted - counts.deleted:
        raise LedgerImbalance(
            f"{window.key}: the target had {before} rows and has {after}, expected "
            f"{before} + {counts.inserted} inserted - {counts.deleted} deleted; the transaction "
            "is rolled back; find out who else writes to this table, then run again"
        )


def _copy(
    conn: psycopg.Connection,
    context: LoadContext,
    target: Target,
    windows: Sequence[PreparedWindow],
    load_ids: Mapping[str, int],
) -> dict[str, int]:
    """Copy into empty windows; returns what they have then."""
    batches = (with_load_id(item.rows, load_ids[item.window.key]) for item in windows)
    copy_batches(conn, target.parts.target, target.copy_schema, batches)
    recent = [item for item in windows if is_likely_to_change(item.window)]
    hashed = (Compared.of(target.contract, item) for item in recent)
    remember(conn, context, target, ((window, None) for window in hashed))
    return count_windows(conn, target.parts, [item.window for item in windows])
