"""Prepare windows ahead of publishing, and recognise those that are unchanged."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import psycopg

from batch_assets.contracts.table import Window
from batch_assets.contracts.window_checks import Finding
from batch_assets.loading.checkpoints import read_begun
from batch_assets.loading.loads import LoadContext, Outcome
from batch_assets.loading.merge import Target
from batch_assets.loading.options import RECOGNISE_WINDOWS, always
from batch_assets.loading.prepare import (
    FailedWindow,
    OversizedWindow,
    PreparedWindow,
    RejectLimit,
    WindowSource,
    prepare_window,
)
from batch_assets.loading.report import LoadState, RecognisedBy
from batch_assets.loading.turns import Turn
from batch_assets.loading.window_checks import read_findings
from batch_assets.loading.windows import KnownWindow, count_windows, read_windows

# Windows found before the first of them is read, and how fast that number grows: finding costs a
# hash of each file, and until then nobody publishes.
_FIRST_SLICE = 4
_SLICE_GROWTH = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Windows that are committed together.

    Attributes:
        prepared: Windows with rows to publish.
        outcomes: Windows that only need a line in the ledger.
        failed: Windows that could not be prepared.
        oversized: One window that has to be staged; then the group holds nothing else.
        turn: The place of prepared windows in the order of the load.
    """

    prepared: tuple[PreparedWindow, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    failed: tuple[FailedWindow, ...] = ()
    oversized: OversizedWindow | None = None
    turn: Turn | None = None

    @property
    def size_bytes(self) -> int:
        """Memory held by the rows of the group."""
        prepared = sum(item.size_bytes for item in self.prepared)
        return prepared + sum(item.size_bytes for item in self.failed)


def prepare_groups(
    items: Iterable[WindowSource | Outcome],
    conn: psycopg.Connection,
    context: LoadContext,
    target: Target,
    *,
    chunk_rows: int,
    reject_limit: RejectLimit,
    force: bool,
    recognise_windows: int = RECOGNISE_WINDOWS,
    may_begin: Callable[[], bool] = always,
) -> Iterator[Group]:
    """Turn items into groups, in order, prepared windows one by one.

    Sources recognised as unchanged are not opened. Ends before the first window that may not begin.
    """
    for slice_ in _slices(items, recognise_windows):
        outcomes, sources = _split(slice_, conn, context, target, force=force)
        if outcomes:
            yield Group(outcomes=tuple(outcomes))
        begun = read_begun(conn, context, sources)
        conn.commit()
        for source in sources:
            # Asked anew for each: a slice is found in one go, and loading it may take hours.
            if not may_begin():
                return
            if source.window.key in begun or source.bulk is not None:
                # What is staged already is known to be large: reading it again would tell no more.
                # What comes encoded is not held in memory at all.
                yield Group(oversized=OversizedWindow(source))
                continue
            yield _as_group(
                prepare_window(
                    source,
                    context.contract,
                    context.scope,
                    reject_limit=reject_limit,
                    chunk_rows=chunk_rows,
                )
            )


def _as_group(
    result: PreparedWindow | FailedWindow | OversizedWindow | Outcome,
) -> Group:
    match result:
        case Outcome():
            return Group(outcomes=(result,))
        case FailedWindow():
            return Group(failed=(result,))
        case OversizedWindow():
            return Group(oversized=result)
        case PreparedWindow():
            return Group(prepared=(result,))


def _slices(
    items: Iterable[WindowSource | Outcome], size: int
) -> Iterator[Sequence[WindowSource | Outcome]]:
    """Items in tuples of at most `size`; smaller at first, so that publishing begins early."""
    iterator = iter(items)
    length = min(size, _FIRST_SLICE)
    while slice_ := tuple(itertools.islice(iterator, length)):
        yield slice_
        length = min(size, length * _SLICE_GROWTH)


def _split(
    items: Sequence[WindowSource | Outcome],
    conn: psycopg.Connection,
    context: LoadContext,
    target: Target,
    *,
    force: bool,
) -> tuple[list[Outcome], list[WindowSource]]:
    """Outcomes, recognised windows among them, and sources that have to be read."""
    outcomes = [item for item in items if isinstance(item, Outcome)]
    sources = [item for item in items if isinstance(item, WindowSource)]
    if force or not sources:
        return outcomes, sources
    recognised = recognise_sources(conn, context, target, sources)
    outcomes.extend(recognised.values())
    return outcomes, [source for source in sources if source.window not in recognised]


def recognise_sources(
    conn: psycopg.Connection,
    context: LoadContext,
    target: Target,
    sources: Sequence[WindowSource],
) -> dict[Window, Outcome]:
    """Windows whose source, contract and rows are what they were at the last publish."""
    known = read_windows(conn, context, [source.window for source in sources])
    candidates = [
        source
        for source in sources
        if source.source_hash is not None
        and source.window.key in known
        and known[source.window.key].source_hash == source.source_hash
    ]
    counts = count_windows(conn, target.parts, [source.window for source in candidates])
    version = context.contract.fingerprint
    shares_target = context.contract.shares_target
    unchanged = [
        source
        for source in candidates
        if known[source.window.key].is_as_published(
            version, counts[source.window.key], shares_target=shares_target
        )
    ]
    # What a partial window lacks may be known to be right by now, and nothing was read for it.
    doubtful = {
        source.window.key: counts[source.window.key]
        for source in unchanged
        if known[source.window.key].state == LoadState.PARTIAL.value
    }
    findings = dict(read_findings(conn, context, doubtful))
    conn.commit()
    return {
        source.window: _recognised(
            source, known[source.window.key], findings.get(source.window.key)
        )
        for source in unchanged
    }


def _recognised(source: WindowSource, window: KnownWindow, finding: Finding | None) -> Outcome:
    is_mended = window.state == LoadState.PARTIAL.value and finding is None
    return Outcome(
        window=source.window,
        state=LoadState.SUCCESS if is_mended else LoadState(window.state),
        reason="" if is_mended else window.reason,
        message=finding.message if finding else "",
        source_file=source.source_file,
        source_hash=source.source_hash,
        content_hash=window.content_hash,
        ledger=window.repeated_ledger(),
        recognised_by=RecognisedBy.SOURCE_HASH,
    )
