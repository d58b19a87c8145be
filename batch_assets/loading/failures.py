"""The end of a load that failed: its line in the ledger, its dead letters, its report.

What went wrong is decided in publisher.py and oversized.py; nothing here commits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg

from batch_assets.contracts.batch import RejectedRow
from batch_assets.contracts.table import TableContract
from batch_assets.errors import BatchAssetsError, RowsRefused
from batch_assets.loading.dead_letters import write_dead_letters
from batch_assets.loading.leases import drop_leases
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import Closing, LoadContext, close_running_load
from batch_assets.loading.prepare import PreparedWindow, WindowSource, count_reasons
from batch_assets.loading.report import QUOTED_REJECTS, LoadReport, LoadState, quote


@dataclass(frozen=True, slots=True)
class Failure:
    """A window whose load was opened and is not published.

    Attributes:
        ledger: What was read and rejected before it failed.
        rejected: Rows that are not dead letters yet.
        reasons: All rejected rows by rule, those that are dead letters already included.
    """

    source: WindowSource
    load_id: int
    error: BatchAssetsError
    ledger: Ledger = field(default_factory=Ledger)
    rejected: tuple[RejectedRow, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    quoted: tuple[RejectedRow, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_prepared(cls, item: PreparedWindow, load_id: int, error: BatchAssetsError) -> "Failure":
        """The failure of a window that was held in memory."""
        return cls(
            source=item.source,
            load_id=load_id,
            error=error,
            ledger=Ledger(read=item.read, rejected=len(item.rejected)),
            rejected=item.rejected,
            reasons=count_reasons(item.rejected),
            quoted=item.rejected[:QUOTED_REJECTS],
            seconds=item.seconds,
        )


def close_failed(
    conn: psycopg.Connection, context: LoadContext, failure: Failure, tokens: Mapping[str, int]
) -> LoadReport:
    """Write a failure and give its lease up, after the caller has rolled back.

    After a takeover the new holder has closed the load, and its rows and dead letters count.
    """
    window, error = failure.source.window, failure.error
    closing = Closing(
        load_id=failure.load_id,
        state=LoadState.FAILED,
        reason=type(error).__name__,
        ledger=failure.ledger,
        error=error,
    )
    if close_running_load(conn, closing):
        write_dead_letters(conn, context, window, failure.load_id, failure.rejected)
    drop_leases(conn, dict(tokens))
    return LoadReport(
        load_id=failure.load_id,
        window=window,
        state=LoadState.FAILED,
        reason=closing.reason,
        ledger=failure.ledger,
        source_file=failure.source.source_file,
        source_hash=failure.source.source_hash,
        reject_reasons=failure.reasons,
        quoted_rejects=quote(failure.quoted, context.contract),
        error=error,
        seconds=failure.seconds,
    )


def as_refusal(resource: str, cause: Exception, contract: TableContract) -> BatchAssetsError:
    """The error of a window: ours as it is, the server's refusal in words.

    What the server says quotes values. Where columns are personal its code has to do, here and in
    the chain of causes.
    """
    if isinstance(cause, BatchAssetsError):
        return cause
    refusal = RowsRefused(
        f"{resource}: PostgreSQL refused the rows: {server_words(cause, contract)}; "
        "expected rows that keep every constraint of the table; nothing was published; "
        "add a rule to the contract that names such rows, or correct the source"
    )
    refusal.__cause__ = None if contract.personal else cause
    return refusal


def server_words(cause: Exception, contract: TableContract) -> str:
    """What the server says of rows it refuses, as far as it may be repeated."""
    if not contract.personal:
        said = cause.diag.message_primary if isinstance(cause, psycopg.Error) else str(cause)
        return said or type(cause).__name__
    code = f" (SQLSTATE {cause.sqlstate})" if isinstance(cause, psycopg.Error) else ""
    return f"{type(cause).__name__}{code}, not quoted because columns are personal"
