"""From a window's source to rows that are ready to publish: read, validate, sort, hash.

Runs ahead of publishing in a thread of its own and touches no database.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.batch import Position, RejectedRow, SourceBatch, Violation, place_of
from batch_assets.contracts.rules import RowRule, fails_window
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.contracts.validate import ValidatedBatch, validate_batch
from batch_assets.errors import BatchAssetsError, RejectLimitExceeded, WindowRuleBroken
from batch_assets.execution.failpoints import reach
from batch_assets.loading.bulk import BulkFeed
from batch_assets.loading.content_hash import hash_rows
from batch_assets.loading.duplicates import sort_by_key
from batch_assets.loading.loads import Outcome
from batch_assets.loading.report import LoadState

# A rejected row with its original values and one violation takes about this much (measured with
# twelve columns); only the order of magnitude matters.
_REJECTED_ROW_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class WindowSource:
    """The input of one window, found but not read.

    Attributes:
        window: Where its rows belong.
        source_file: Shown in ledgers and reports.
        source_hash: Equal for equal input and mapping; None if it cannot be known before reading.
        read: Opens the source; batches after the given position, all of them for None.
        bulk: The same rows as encoded streams, where the source can send them; goes before `read`.
    """

    window: Window
    source_file: str
    source_hash: str | None
    read: Callable[[Position | None], Iterator[SourceBatch]]
    bulk: BulkFeed | None = None


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """How many rejected rows a window may have before it fails as a whole."""

    rows: int = 1_000
    ratio: float = 0.01

    def check(self, resource: str, rejected: int, read: int, reasons: Mapping[str, int]) -> None:
        """Refuse a window with too many rejected rows.

        Raises:
            RejectLimitExceeded: More rows, or a larger share of them, than allowed.
        """
        if rejected <= self.rows and rejected <= self.ratio * read:
            return
        listed = ", ".join(f"{rule} {count}" for rule, count in reasons.items())
        raise RejectLimitExceeded(
            f"{resource}: {rejected} of {read} rows were rejected ({listed}), allowed are "
            f"{self.rows} rows and {self.ratio:.1%}; nothing was published; correct the source, "
            "or raise the feed's reject_limit_rows and reject_limit_ratio"
        )


@dataclass(frozen=True, slots=True)
class PreparedWindow:
    """Rows of one window, ready to publish, with everything the ledger needs.

    Attributes:
        rows: Valid rows in key order, keys unique.
        rejected: Rows left out, with reasons.
        broken_counts: Rows that broke each rule, warnings included.
    """

    source: WindowSource
    rows: pa.RecordBatch
    content_hash: str
    read: int
    duplicate: int
    skipped: int
    rejected: tuple[RejectedRow, ...]
    broken_counts: Mapping[str, int]
    seconds: Mapping[str, float]

    @property
    def window(self) -> Window:
        """Where the rows belong."""
        return self.source.window

    @property
    def size_bytes(self) -> int:
        """Memory the rows take while they wait to be published."""
        return int(self.rows.nbytes) + len(self.rejected) * _REJECTED_ROW_BYTES


@dataclass(frozen=True, slots=True)
class FailedWindow:
    """A window that is not published, with the rows that explain why."""

    source: WindowSource
    error: BatchAssetsError
    read: int = 0
    rejected: tuple[RejectedRow, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def window(self) -> Window:
        """Which window failed."""
        return self.source.window

    @property
    def size_bytes(self) -> int:
        """Memory the rejected rows take until they are dead letters."""
        return len(self.rejected) * _REJECTED_ROW_BYTES


@dataclass(slots=True)
class Tally:
    """Running counts while a source is read."""

    read: int = 0
    skipped: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)

    def add(self, batch: SourceBatch, validated: ValidatedBatch) -> None:
        """Count one batch."""
        self.read += batch.read_rows
        self.skipped += batch.skipped_rows
        self.rejected.extend(validated.rejected)
        self.broken.update(validated.broken_counts)


@dataclass(frozen=True, slots=True)
class OversizedWindow:
    """A window found to be larger than one chunk; it is staged chunk by chunk instead.

    Its source is opened again by the staging path, after the chunks that are already there.
    """

    source: WindowSource

    @property
    def window(self) -> Window:
        """Where the rows belong."""
        return self.source.window


def prepare_window(
    source: WindowSource,
    contract: TableContract,
    scope: Scope,
    *,
    reject_limit: RejectLimit,
    chunk_rows: int,
) -> PreparedWindow | FailedWindow | OversizedWindow | Outcome:
    """Read a whole window, unless it turns out to be larger than a chunk.

    A source without a single row is an `unconfirmed_empty` outcome: empty is not success.
    """
    started = time.perf_counter()
    tally = Tally()
    pieces: list[ValidatedBatch] = []
    row_count = 0
    rules = belonging_rules(contract, scope, source.window)
    try:
        for batch in source.read(None):
            reach("read.after_batch")
            validated = validate_batch(batch, contract, rules)
            tally.add(batch, validated)
            pieces.append(validated)
            row_count += validated.rows.num_rows
            # Rejected rows take memory too, however few of the rows are good.
            if row_count + len(tally.rejected) > chunk_rows:
                return OversizedWindow(source)
        if tally.read == 0:
            return _empty(source)
        read_seconds = time.perf_counter() - started
        return _finish(source, contract, pieces, tally, reject_limit, read_seconds)
    except BatchAssetsError as error:
        seconds = {"prepare": time.perf_counter() - started}
        return FailedWindow(source, error, tally.read, tuple(tally.rejected), seconds)


def _empty(source: WindowSource) -> Outcome:
    return Outcome(
        window=source.window,
        state=LoadState.UNCONFIRMED_EMPTY,
        reason="no_rows",
        source_file=source.source_file,
        source_hash=source.source_hash,
    )


def _finish(
    source: WindowSource,
    contract: TableContract,
    pieces: list[ValidatedBatch],
    tally: Tally,
    reject_limit: RejectLimit,
    read_seconds: float,
) -> PreparedWindow:
    started = time.perf_counter()
    rows = join_batches(contract, [piece.rows for piece in pieces])
    keyed = sort_by_key(rows, contract)
    if keyed.conflicting:
        tally.rejected.extend(conflict_rejects(contract, rows, pieces, keyed.conflicting))
    check_window_limits(
        source.window.key,
        contract,
        tally.read,
        count_reasons(tally.rejected),
        tally.broken,
        reject_limit,
    )
    return PreparedWindow(
        source=source,
        rows=keyed.rows,
        content_hash=hash_rows(keyed.rows, left_out=contract.provenance),
        read=tally.read,
        duplicate=keyed.duplicate_count,
        skipped=tally.skipped,
        rejected=tuple(tally.rejected),
        broken_counts=dict(tally.broken),
        seconds={"read": read_seconds, "prepare": time.perf_counter() - started},
    )


def join_batches(contract: TableContract, batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch with the rows of all; empty with the contract's columns if there are none."""
    filled = [batch for batch in batches if batch.num_rows]
    if len(filled) == 1:
        return filled[0]
    if not filled:
        empty = [pa.array([], field.type) for field in contract.columns]
        return pa.RecordBatch.from_arrays(empty, schema=contract.columns)
    return pa.concat_batches(filled)


def belonging_rules(contract: TableContract, scope: Scope, window: Window) -> tuple[RowRule, ...]:
    """Every row belongs to the window and scope that are being loaded."""
    rules = [_scope_rule(column, value) for column, value in scope.values]
    if contract.window_column is not None and window.start is not None:
        rules.append(_window_rule(contract, contract.window_column, window))
    return tuple(rules)


def _scope_rule(column: str, value: str) -> RowRule:
    return RowRule(
        name="outside_scope",
        columns=(column,),
        broken=lambda batch: pc.not_equal(batch.column(column), value),
        expected=f"{column} = {value}",
        hint="load the row with the feed it belongs to",
    )


def _window_rule(contract: TableContract, column: str, window: Window) -> RowRule:
    kind = contract.columns.field(column).type
    start, end = pa.scalar(window.start, kind), pa.scalar(window.end, kind)

    def is_outside(batch: pa.RecordBatch) -> pa.BooleanArray:
        values = batch.column(column)
        return pc.or_(pc.less(values, start), pc.greater_equal(values, end))

    return RowRule(
        name="outside_window",
        columns=(column,),
        broken=is_outside,
        expected=f"from {window.start} to before {window.end}",
        hint="put the row into the file of its own window",
    )


def check_window_limits(
    resource: str,
    contract: TableContract,
    read: int,
    reasons: Mapping[str, int],
    broken: Mapping[str, int],
    reject_limit: RejectLimit,
) -> None:
    """Refuse a window with too many rejected rows, or too many that break one window rule.

    Raises:
        RejectLimitExceeded: See RejectLimit.
        WindowRuleBroken: A rule with a window limit is broken too often.
    """
    if reasons:
        reject_limit.check(resource, sum(reasons.values()), read, reasons)
    for rule in contract.rules:
        count = broken.get(rule.name, 0)
        if not fails_window(rule, count, read):
            continue
        raise WindowRuleBroken(
            f"{resource}: {count} of {read} rows break '{rule.name}' "
            f"(expected {rule.expected}), allowed are {rule.window_limit_ratio:.0%}; "
            f"nothing was published; {rule.hint}"
        )


def count_reasons(rejected: Sequence[RejectedRow]) -> dict[str, int]:
    """Rejected rows by the rule that names the reason, most frequent first."""
    return dict(Counter(row.violations[0].rule for row in rejected).most_common())


def conflict_rejects(
    contract: TableContract,
    rows: pa.RecordBatch,
    pieces: list[ValidatedBatch],
    conflicting: tuple[int, ...],
) -> list[RejectedRow]:
    """Rejects for rows whose key stands for different values; `rows` joins the pieces' rows."""
    positions = pa.Table.from_batches([p.positions for p in pieces if p.rows.num_rows])
    window_column = contract.window_column
    rejects = []
    for index in conflicting:
        values = {name: _text(rows.column(name)[index].as_py()) for name in rows.schema.names}
        file, sheet, row = place_of(positions, index)
        rejects.append(
            RejectedRow(
                file=file,
                sheet=sheet,
                row=row,
                violations=(
                    Violation(
                        rule="conflicting_duplicate_key",
                        column=contract.key[-1],
                        observed=", ".join(f"{name}={values[name]}" for name in contract.key),
                        expected="one row for each key, or copies that agree in every column",
                        hint="keep the right row and remove the others from the source",
                    ),
                ),
                original=values,
                window_value=rows.column(window_column)[index].as_py() if window_column else None,
            )
        )
    return rejects


def _text(value: object) -> str | None:
    return None if value is None else str(value)
