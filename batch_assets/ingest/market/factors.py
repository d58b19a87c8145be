"""Adjustment factors of a day: which of them are changes, and which are missing.

A vendor states the factor of every symbol each day, or each change; stored are the changes alone.
That a day was read is a line of the ledger, `ops.loads`, with the window of the day.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.table import Window
from batch_assets.errors import UnreadableSource
from batch_assets.ingest.market.daily_bars import DayReport
from batch_assets.ingest.market.instruments import scope_of_source, sync_factors
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.load import load_windows
from batch_assets.loading.loads import Outcome
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.report import LoadState
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.market.reference import ADJUSTMENT_FACTORS
from batch_assets.sources.market.window_checks import allowed_missing

_QUOTED_SYMBOLS = 5


def sync_factors_of_day(
    connect: Connector,
    source: str,
    day: date,
    rows: pa.Table,
    *,
    gives_changes: bool,
    origin: str,
    options: LoadOptions,
) -> DayReport:
    """Store what a vendor's factors of a day change, and note that the day was read.

    Days may be read in any order, and again. A day that was not read has the factors of the
    newest day before it; nothing is guessed beyond that, and `quality/factors.py` says which
    days were not read.

    Args:
        rows: Columns symbol, factor, and ex_date or trade_date. A factor may be null.
        gives_changes: Rows are all changes of the symbols they name, with their ex_date; else the
            factor of every symbol on the day.
    """
    known = rows.filter(pc.is_valid(rows.column("factor")))
    if not rows.num_rows and not gives_changes:
        return _record(connect, source, _empty(day, origin), options)
    if "trade_date" in rows.column_names:
        _refuse_other_days(rows, day, origin)
    missing: Sequence[str] = ()
    changes, handed_over = known, rows.num_rows
    if not gives_changes:
        with connect() as conn:
            changes = _find_changes(conn, source, day, known)
            missing = _find_missing(conn, source, day, known)
        of_day = pc.equal(changes.column("ex_date"), pa.scalar(day))
        handed_over = (pc.sum(of_day).as_py() or 0) + rows.num_rows - known.num_rows
    if changes.num_rows:
        # Which rows are changes depends on what is stored, so equal ones say nothing here.
        stored = sync_factors(
            connect, source, changes, origin=origin, options=replace(options, force=True)
        )
        if stored.error is not None:
            failed = Outcome(
                Window.of_day(day), LoadState.FAILED, reason=stored.reason, error=stored.error
            )
            return _record(connect, source, failed, options)
    return _record(
        connect, source, _outcome(day, rows.num_rows, handed_over, missing, origin), options
    )


def _find_changes(conn: psycopg.Connection, source: str, day: date, rows: pa.Table) -> pa.Table:
    parameters = {
        "target": ADJUSTMENT_FACTORS.target,
        "source": source,
        "day": day,
        "symbols": rows.column("symbol").to_pylist(),
        "factors": rows.column("factor").to_pylist(),
    }
    found = conn.execute(read_query("find_factor_changes"), parameters).fetchall()
    names = ("symbol", "ex_date", "factor")
    return pa.table(
        {
            name: pa.array(
                [row[place] for row in found], ADJUSTMENT_FACTORS.columns.field(name).type
            )
            for place, name in enumerate(names)
        }
    )


def _find_missing(
    conn: psycopg.Connection, source: str, day: date, rows: pa.Table
) -> Sequence[str]:
    parameters = {"source": source, "day": day, "symbols": rows.column("symbol").to_pylist()}
    found = conn.execute(read_query("find_missing_factors"), parameters)
    return [symbol for [symbol] in found]


def _refuse_other_days(rows: pa.Table, day: date, origin: str) -> None:
    others = set(rows.column("trade_date").unique().to_pylist()) - {day}
    if others:
        raise UnreadableSource(
            f"{origin}: factors of {', '.join(sorted(map(str, others))[:_QUOTED_SYMBOLS])}, "
            f"expected those of {day} alone; nothing was stored; the vendor may have changed its "
            "format"
        )


def _empty(day: date, origin: str) -> Outcome:
    return Outcome(
        Window.of_day(day),
        LoadState.UNCONFIRMED_EMPTY,
        reason="no_rows",
        source_file=origin,
        message=f"{origin} has no factor, and the day is a session; vendors publish them as late "
        "as the next morning: run the partition again then; until then the day has the factors "
        "of the day before",
    )


def _outcome(day: date, read: int, stored: int, missing: Sequence[str], origin: str) -> Outcome:
    message = ""
    if missing:
        more = " and so on" if len(missing) > _QUOTED_SYMBOLS else ""
        message = (
            f"{len(missing)} symbols that trade on {day} have no factor "
            f"({', '.join(missing[:_QUOTED_SYMBOLS])}{more}), "
            "expected one of each; they keep their last one, which is not right if it changed "
            "that day; run the partition again when the vendor has them"
        )
    # New listings are late by a day or so; what goes beyond that is a vendor that is not done.
    is_partial = len(missing) > allowed_missing(read)
    return Outcome(
        Window.of_day(day),
        LoadState.PARTIAL if is_partial else LoadState.SUCCESS,
        reason="missing_factors" if missing else "",
        source_file=origin,
        # What is stored has a load of its own, with the window of the whole source.
        ledger=Ledger(read=read, unchanged=read - stored, skipped=stored),
        message=message,
    )


def _record(connect: Connector, source: str, outcome: Outcome, options: LoadOptions) -> DayReport:
    scope = scope_of_source(source)
    [report] = load_windows(connect, ADJUSTMENT_FACTORS, scope, [outcome], options)
    is_retryable = report.error.retryable if report.error else bool(report.message)
    message = str(report.error) if report.error else report.message
    is_warning = report.error is None and bool(report.message)
    return DayReport(report, message, is_warning=is_warning, is_retryable=is_retryable)
