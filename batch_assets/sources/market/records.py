"""Records of delimited text: where each begins, counted without the parser.

The count of rows read comes from here, so that a parser that loses a row is found out.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_NEWLINE, _RETURN, _QUOTE = 10, 13, 34
# A quoted value may hold line breaks, but an unclosed quote must not swallow the file.
MAX_LINES_IN_RECORD = 20


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one block of text that begins and ends with whole records.

    Attributes:
        data: UTF-8 text.
        starts: Byte offset of each record; blank lines are no records.
        ends: Byte offset after each record, without its line end.
        lines: Physical line of each record within the block, from 0.
    """

    data: bytes
    starts: np.ndarray
    ends: np.ndarray
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, index: int) -> str:
        """One record as it stands in the file."""
        piece = self.data[self.starts[index] : self.ends[index]]
        return piece.decode("utf-8", errors="replace").rstrip("\r\n")


def split_records(data: bytes) -> Records:
    """Find the records of a block.

    Line breaks inside closed quotes belong to the record, for at most MAX_LINES_IN_RECORD lines.
    """
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets == _NEWLINE)
    if len(data) and data[-1] != _NEWLINE:
        ends = np.append(ends, len(data))
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1] + 1
    lines = np.arange(len(starts))
    if b'"' in data:
        starts, ends, lines = _join_quoted(octets, starts, ends)
    lengths = ends - starts
    blank = lengths == 0
    ones = np.flatnonzero(lengths == 1)
    blank[ones] = octets[starts[ones]] == _RETURN
    if blank.any():
        kept = ~blank
        starts, ends, lines = starts[kept], ends[kept], lines[kept]
    return Records(data, starts, ends, lines)


def _join_quoted(
    octets: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    quotes = np.flatnonzero(octets == _QUOTE)
    per_line = np.searchsorted(quotes, ends) - np.searchsorted(quotes, starts)
    odd = np.flatnonzero(per_line % 2)
    keep = np.ones(len(starts), bool)
    joined = ends.copy()
    place = 0
    while place < len(odd):
        first = odd[place]
        last = odd[place + 1] if place + 1 < len(odd) else None
        if last is not None and last - first < MAX_LINES_IN_RECORD:
            keep[first + 1 : last + 1] = False
            joined[first] = ends[last]
            place += 2
        else:
            place += 1  # a stray quote: the line stands alone
    return starts[keep], joined[keep], np.flatnonzero(keep)


def whole_records_end(data: bytes) -> int:
    """Offset after the last record of a block that is surely complete, 0 if there is none."""
    end = data.rfind(b"\n") + 1
    if data.count(b'"', 0, end) % 2 == 0:
        return end
    earlier = end
    for _ in range(MAX_LINES_IN_RECORD):
        earlier = data.rfind(b"\n", 0, max(earlier - 1, 0)) + 1
        if earlier == 0:
            break
        if data.count(b'"', 0, earlier) % 2 == 0:
            return earlier
    return end


def fields_of(text: str, delimiter: str) -> list[str]:
    """The fields of one record."""
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        return [text]


def iter_fields(records: Records, delimiter: str) -> Iterator[Sequence[str]]:
    """Fields of every record, one by one; slow, for blocks a fast parser does not count alike."""
    for index in range(len(records)):
        yield fields_of(records.text(index), delimiter)
