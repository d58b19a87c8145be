"""Table contracts: what a target table promises to its readers and demands of its writers."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import pyarrow as pa

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.rules import RowRule
from batch_assets.contracts.window_checks import WindowCheck


@dataclass(frozen=True, slots=True)
class TableContract:
    """What is loaded, into which table, under which rules.

    Attributes:
        target: `schema.table`.
        columns: Content columns in COPY order; Arrow types exactly as the table's (types.py).
        key: Columns that make a row unique in the target.
        disposition: How rows meet the rows already there.
        window_column: Column that says to which window a row belongs; None means one window.
        scope_columns: Columns constant within one load (`source`), part of every window.
        rules: Row rules, in order; the first broken one names the reason.
        history_table: Where former versions of changed and deleted rows go; None keeps none. Has
            the target's columns, and known_from, known_to and superseded_by.
        window_checks: What holds for a window as a whole, checked before it is published.
        provenance: Columns that say where a row came from. They are written with a row that is new
            or changed, and never make a row count as changed or as different from its copy.
        shares_target: Windows have no bounds and bring rows to one table (a window for each file
            that arrives); a row belongs to the window that wrote it last.
        personal: Columns whose values are masked wherever rejected rows are shown, named as the
            table or the source calls them. No part of the fingerprint: rows stay the same.
        version: Raised by hand when parsing or rules change in a way that needs a re-load.
    """

    target: str
    columns: pa.Schema
    key: tuple[str, ...]
    disposition: Disposition
    window_column: str | None = None
    scope_columns: tuple[str, ...] = ()
    rules: tuple[RowRule, ...] = ()
    history_table: str | None = None
    window_checks: tuple[WindowCheck, ...] = ()
    provenance: tuple[str, ...] = ()
    shares_target: bool = False
    personal: frozenset[str] = frozenset()
    version: str = "1"

    @property
    def compared_columns(self) -> tuple[str, ...]:
        """Columns that decide whether two rows with the same key are the same."""
        left_out = {*self.key, *self.provenance}
        return tuple(name for name in self.columns.names if name not in left_out)

    @property
    def fingerprint(self) -> str:
        """Identity of target, columns, key, disposition, rules and version; 16 hex digits.

        A window loaded under another fingerprint is never recognised as unchanged.
        """
        parts = [
            self.target,
            str(self.columns),
            ",".join(self.key),
            self.disposition,
            *(f"{rule.name}:{','.join(rule.columns)}:{rule.severity}" for rule in self.rules),
            self.version,
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A half-open range [start, end) of the window column, within one scope.

    Attributes:
        key: Name in ledgers and messages (`2024-09-30`).
        start: First value inside; None is unbounded.
        end: First value after; None is unbounded.
    """

    key: str
    start: date | datetime | None = None
    end: date | datetime | None = None

    @classmethod
    def of_day(cls, day: date) -> "Window":
        """The window of one trade date."""
        return cls(key=day.isoformat(), start=day, end=day + timedelta(days=1))

    @property
    def starts_at(self) -> datetime | None:
        """Start as an instant: dates count from midnight UTC."""
        return _as_instant(self.start)

    @property
    def ends_at(self) -> datetime | None:
        """End as an instant: dates count from midnight UTC."""
        return _as_instant(self.end)


@dataclass(frozen=True, slots=True)
class Scope:
    """The constant part of a load's key: column and value pairs (`source` = `examples`)."""

    values: tuple[tuple[str, str], ...] = field(default=())

    @property
    def name(self) -> str:
        """The values joined by `/`, as shown in ledgers (`examples`)."""
        return "/".join(value for _, value in self.values)


def resource_of(contract: TableContract, scope: Scope, window: Window) -> str:
    """What one writer at a time may write: `market.daily_bars/examples/2024-09-30`."""
    return "/".join(part for part in (contract.target, scope.name, window.key) if part)


def _as_instant(value: date | datetime | None) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return datetime.combine(value, time.min, tzinfo=UTC)
