"""A folder with files of one day each, found by the date in their names."""

import hashlib
from collections.abc import Iterator
from datetime import date, datetime
from functools import partial
from pathlib import Path

from batch_assets.contracts.batch import RejectedRow, SourceBatch
from batch_assets.sources.market.containers import FileIdentity, identify
from batch_assets.sources.market.feed import FileFeed
from batch_assets.sources.market.file_names import find_day_files, require_folder
from batch_assets.sources.market.judge import Found, build_day_input
from batch_assets.sources.market.parse import BarParser
from batch_assets.sources.market.readers import mapping_fingerprint, read_tables
from batch_assets.sources.market.source import DayInput
from batch_assets.sources.market.spellings import Spellings

# A file this small may have no row: it is parsed to find out. A larger one surely has some.
_MAYBE_EMPTY_BYTES = 32 * 1024
_Files = list[tuple[Path, FileIdentity]]


class DayFileSource:
    """`layout = "by_day"`: each day's file is found, hashed and parsed by itself."""

    def __init__(self, feed: FileFeed, cache_dir: Path) -> None:
        self._feed = feed
        self._cache_dir = cache_dir
        self._spellings = Spellings(feed)
        self._fingerprint = mapping_fingerprint(feed)

    def open_day(self, day: date, *, now: datetime) -> DayInput:
        """See MarketSource."""
        feed = self._feed
        require_folder(feed)
        files = [(path, identify(path, feed.folder)) for path in find_day_files(feed, day)]
        parser = BarParser(feed, self._spellings)
        found = Found()
        if files:
            found = Found(
                source_hash=self._hash(files),
                source_file=", ".join(identity.name for _, identity in files),
                is_empty=_is_empty(files, feed, parser),
            )
        return build_day_input(
            feed,
            day,
            found,
            now=now,
            cache_dir=self._cache_dir,
            read=partial(_read, parser, feed, day, files),
            notes=parser.notes,
        )

    def undated(self, *, now: datetime) -> tuple[RejectedRow, ...]:  # noqa: ARG002 - the protocol's
        """Nothing: a row of a day's file belongs to that day whatever its cells say."""
        return ()

    def close(self) -> None:
        """Nothing: files are open only while they are read."""

    def _hash(self, files: _Files) -> str:
        digest = hashlib.sha256(self._fingerprint.encode())
        for _, identity in files:
            digest.update(f"\n{identity.name}\0{identity.sha256}".encode())
        return digest.hexdigest()


def _is_empty(files: _Files, feed: FileFeed, parser: BarParser) -> bool:
    if any(identity.size_bytes > _MAYBE_EMPTY_BYTES for _, identity in files):
        return False
    return not any(
        table.read_rows
        for path, identity in files
        for table in read_tables(path, identity, feed, parser.numbers)
    )


def _read(parser: BarParser, feed: FileFeed, day: date, files: _Files) -> Iterator[SourceBatch]:
    parser.notes.clear()
    for path, identity in files:
        for table in read_tables(path, identity, feed, parser.numbers):
            yield parser.parse(table, day)
