"""Symbols that were renamed, stored under the name the instrument has (FB as META).

What stands for what, and when, is in `market.instrument_aliases`. A feed's own `symbol.aliases`
are about spellings and were applied before, when its cells were typed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.batch import RejectedRow, SourceBatch
from batch_assets.loading.leases import Connector
from batch_assets.sources.market.source import DayInput, DayState, MarketSource


@dataclass(frozen=True, slots=True)
class _Alias:
    alias: str
    symbol: str
    valid_from: date
    valid_to: date | None

    def is_valid_on(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


class AliasedSource:
    """A market source whose rows have the symbols of instruments; see MarketSource.

    Aliases are read when the first day with rows is opened, and once.
    """

    def __init__(self, source: MarketSource, connect: Connector, source_name: str) -> None:
        self._source = source
        self._connect = connect
        self._source_name = source_name
        self._aliases: tuple[_Alias, ...] | None = None

    def open_day(self, day: date, *, now: datetime) -> DayInput:
        """See MarketSource; the aliases of the day are part of the identity of its rows."""
        found = self._source.open_day(day, now=now)
        if found.state is not DayState.READY:
            return found
        names = self._names_on(day)
        if not names:
            return found
        return replace(
            found,
            source_hash=_with_names(found.source_hash, names),
            read=lambda: (rename_symbols(batch, names) for batch in found.read()),
        )

    def undated(self, *, now: datetime) -> tuple[RejectedRow, ...]:
        """See MarketSource."""
        return self._source.undated(now=now)

    def close(self) -> None:
        """See MarketSource."""
        self._source.close()

    def _names_on(self, day: date) -> dict[str, str]:
        if self._aliases is None:
            with closing(self._connect()) as conn:
                self._aliases = _read_aliases(conn, self._source_name)
        return _valid_on(self._aliases, day)


def read_names(conn: psycopg.Connection, source_name: str, day: date) -> dict[str, str]:
    """Symbols by the alias that stands for them on a day."""
    return _valid_on(_read_aliases(conn, source_name), day)


def _read_aliases(conn: psycopg.Connection, source_name: str) -> tuple[_Alias, ...]:
    rows = conn.execute(
        "SELECT alias, symbol, valid_from, valid_to FROM market.instrument_aliases"
        " WHERE source = %s ORDER BY alias, valid_from",
        (source_name,),
    ).fetchall()
    return tuple(_Alias(*row) for row in rows)


def _valid_on(aliases: Sequence[_Alias], day: date) -> dict[str, str]:
    return {item.alias: item.symbol for item in aliases if item.is_valid_on(day)}


def _with_names(source_hash: str | None, names: Mapping[str, str]) -> str | None:
    """The hash of the source and of what its symbols stand for; its beginning stays."""
    if source_hash is None:
        return None
    text = "\n".join(f"{alias}={symbol}" for alias, symbol in sorted(names.items()))
    return f"{source_hash}+{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def rename_symbols(batch: SourceBatch, names: Mapping[str, str]) -> SourceBatch:
    """Rows with the symbols that aliases stand for."""
    symbols = batch.rows.column("symbol")
    known, meant = pa.array(list(names), pa.string()), pa.array(list(names.values()), pa.string())
    places = pc.index_in(symbols, value_set=known)
    if places.null_count == len(places):
        return batch
    renamed = pc.coalesce(meant.take(places), symbols)
    place = batch.rows.schema.get_field_index("symbol")
    return replace(batch, rows=batch.rows.set_column(place, "symbol", renamed))
