"""A market source narrowed to some symbols; the other rows are read, counted and left out."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.batch import Original, RejectedRow, SourceBatch
from batch_assets.sources.market.source import DayInput, MarketSource


class ChosenSymbols:
    """Gives the rows of the chosen symbols of another source."""

    def __init__(self, source: MarketSource, symbols: Sequence[str]) -> None:
        self._source = source
        self._symbols = pa.array(list(symbols), pa.string())
        names = "\n".join(sorted(symbols))
        self._digest = hashlib.sha256(names.encode()).hexdigest()[:8]

    def open_day(self, day: date, *, now: datetime) -> DayInput:
        """See MarketSource; the hash of a day tells also which symbols were chosen."""
        found = self._source.open_day(day, now=now)
        source_hash = found.source_hash and f"{found.source_hash}/{self._digest}"
        return replace(found, read=partial(self._read, found), source_hash=source_hash)

    def undated(self, *, now: datetime) -> tuple[RejectedRow, ...]:
        """See MarketSource."""
        return self._source.undated(now=now)

    def close(self) -> None:
        """See MarketSource."""
        self._source.close()

    def _read(self, found: DayInput) -> Iterator[SourceBatch]:
        for batch in found.read():
            yield self._narrow(batch)

    def _narrow(self, batch: SourceBatch) -> SourceBatch:
        wanted = pc.fill_null(pc.is_in(batch.rows.column("symbol"), value_set=self._symbols), False)
        kept = pc.indices_nonzero(wanted)
        places = kept.to_pylist()

        def originals(indices: Sequence[int]) -> list[Original]:
            return batch.originals([places[index] for index in indices])

        return replace(
            batch,
            rows=batch.rows.take(kept),
            positions=batch.positions.take(kept),
            originals=originals,
            skipped_rows=batch.skipped_rows + batch.rows.num_rows - len(places),
        )
