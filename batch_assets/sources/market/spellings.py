"""What spellings of symbols and dates mean, remembered between files.

The symbols of one day are those of the day before, and the dates of one symbol those of the next:
looking them up is ten times as fast as reading them again.

What is remembered is shared by the threads of a load: one prepares days while another reads a
large day again, chunk by chunk.
"""

import threading
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.sources.market.dates import parse_dates
from batch_assets.sources.market.feed import Feed

# Enough for every listing of several markets, or for a century of days in several formats; a
# runaway column must not grow it without bound.
_REMEMBERED = 200_000
_SEPARATOR = "\x1f"


class Remembered:
    """A function from text to a value, applied to each distinct text once."""

    def __init__(self, parse: Callable[[pa.Array], pa.Array], type_: pa.DataType) -> None:
        self._parse = parse
        self._texts = pa.array([], pa.string())
        self._values = pa.array([], type_)
        self._last = (self._texts, self._values)
        # Texts and values belong together by their places: seen between the two, a text would get
        # the value of another, or none.
        self._lock = threading.Lock()

    def translate(self, texts: pa.Array) -> pa.Array:
        """The value of each text; null where the text is null or has none."""
        with self._lock:
            # A market's files list the same symbols in the same order for days on end.
            if not texts.equals(self._last[0]):
                self._last = (texts, self._look_up(texts))
            return self._last[1]

    def _look_up(self, texts: pa.Array) -> pa.Array:
        places = pc.index_in(texts, value_set=self._texts)
        if places.null_count:
            unknown = texts.filter(pc.is_null(places)).unique().drop_null()
            if len(self._texts) + len(unknown) > _REMEMBERED:
                self._texts, self._values = self._texts.slice(0, 0), self._values.slice(0, 0)
                unknown = texts.unique().drop_null()
            if len(unknown):
                self._texts = pa.concat_arrays([self._texts, unknown])
                self._values = pa.concat_arrays([self._values, self._parse(unknown)])
                places = pc.index_in(texts, value_set=self._texts)
        return self._values.take(places)


class Spellings:
    """What is known of one feed's spellings; shared by everything that parses the feed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._nulls = frozenset(feed.nulls)
        self._symbols = Remembered(self._parse_symbols, pa.string())
        self._dates = Remembered(self._parse_dates, pa.date32())

    def symbols(self, cells: pa.Array, series: pa.Array | None) -> pa.Array:
        """Canonical symbol of each cell, null where there is none.

        Args:
            cells: Cells of the symbol column as in the file.
            series: Cells of the series column, or None where the feed has none.
        """
        if series is not None:
            cells = pc.binary_join_element_wise(cells, series, _SEPARATOR)
        return self._symbols.translate(cells)

    def dates(self, cells: pa.Array) -> pa.Array:
        """Date of each cell as in the file, null where there is none."""
        return self._dates.translate(cells)

    def _parse_symbols(self, texts: pa.Array) -> pa.Array:
        regex = self._feed.symbol.surely_canonical
        if not regex:
            return self._parse_spellings(texts)
        # One by one, the first file of a market costs more than all of its rows.
        is_canonical = pc.match_substring_regex(texts, regex)
        if self._nulls:
            is_null = pc.is_in(texts, value_set=pa.array(sorted(self._nulls), pa.string()))
            is_canonical = pc.and_not(is_canonical, is_null)
        if pc.all(is_canonical).as_py():
            return texts
        others = pc.invert(is_canonical)
        return pc.replace_with_mask(texts, others, self._parse_spellings(texts.filter(others)))

    def _parse_spellings(self, texts: pa.Array) -> pa.Array:
        symbols = []
        for text in texts.to_pylist():
            spelling, _, series = text.partition(_SEPARATOR)
            is_null = spelling.strip() in self._nulls
            symbols.append(None if is_null else self._feed.symbol.canonical(spelling, series))
        return pa.array(symbols, pa.string())

    def _parse_dates(self, texts: pa.Array) -> pa.Array:
        trimmed = pc.utf8_trim_whitespace(texts)
        return parse_dates(trimmed, self._feed.date_format, self._feed.zone_name)
