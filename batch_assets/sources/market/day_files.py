"""A folder with files of one day each, found by the date in their names."""

import hashlib
from collections.abc import Iterator
from datetime import date, datetime
from functools import partial
from pathlib import Path

from batch_assets.contracts.batch import RejectedRow, SourceBatch
from batch_assets.sources.market.calendar import open_calendar
from batch_assets.sources.market.containers import FileIdentity, identify
from batch_assets.sources.market.day_text import describe_day
from batch_assets.sources.market.feed import Feed
from batch_assets.sources.market.file_names import find_day_files, require_folder
from batch_assets.sources.market.parse import BarParser
from batch_assets.sources.market.readers import mapping_fingerprint, read_tables
from batch_assets.sources.market.source import DayFacts, DayInput, DayState, evaluate_day

# A file this small may have no row: it is parsed to find out. A larger one surely has some.
_MAYBE_EMPTY_BYTES = 32 * 1024


class DayFileSource:
    """`layout = "by_day"`: each day's file is found, hashed and parsed by itself."""

    def __init__(self, feed: Feed, cache_dir: Path) -> None:
        self._feed = feed
        self._cache_dir = cache_dir
        self._parser = BarParser(feed)
        self._fingerprint = mapping_fingerprint(feed)

    def open_day(self, day: date, *, now: datetime) -> DayInput:
        """See MarketSource."""
        feed = self._feed
        require_folder(feed)
        paths = find_day_files(feed, day)
        identities = [identify(path, feed.folder) for path in paths]
        calendar = open_calendar(
            feed.calendar_name, self._cache_dir, today=now.date(), user_file=feed.calendar_file
        )
        facts = DayFacts(
            is_session=calendar.is_session(day),
            is_before_first_day=feed.first_day is not None and day < feed.first_day,
            is_closed=now >= feed.closes_on(day),
            is_due=now >= feed.ready_on(day),
            has_input=bool(paths),
            is_empty=bool(paths) and self._is_empty(paths, identities),
        )
        verdict = evaluate_day(facts)
        parser = BarParser(feed) if verdict.state is DayState.READY else self._parser
        return DayInput(
            trade_date=day,
            state=verdict.state,
            reason=verdict.reason,
            message=describe_day(verdict.reason, feed, day, calendar.name),
            source_hash=self._hash(identities) if paths else None,
            source_file=", ".join(identity.name for identity in identities),
            is_retryable=verdict.is_retryable,
            is_warning=verdict.is_warning,
            read=partial(_read, parser, day, list(zip(paths, identities, strict=True))),
            notes=parser.notes,
        )

    def undated(self) -> tuple[RejectedRow, ...]:
        """Nothing: a row of a day's file belongs to that day whatever its cells say."""
        return ()

    def _hash(self, identities: list[FileIdentity]) -> str:
        digest = hashlib.sha256(self._fingerprint.encode())
        for identity in identities:
            digest.update(f"\n{identity.name}\0{identity.sha256}".encode())
        return digest.hexdigest()

    def _is_empty(self, paths: list[Path], identities: list[FileIdentity]) -> bool:
        if any(identity.size_bytes > _MAYBE_EMPTY_BYTES for identity in identities):
            return False
        return not any(
            table.read_rows
            for path, identity in zip(paths, identities, strict=True)
            for table in read_tables(path, identity, self._feed, self._parser.numbers)
        )


def _read(
    parser: BarParser, day: date, files: list[tuple[Path, FileIdentity]]
) -> Iterator[SourceBatch]:
    for path, identity in files:
        for table in read_tables(path, identity, parser.feed, parser.numbers):
            yield parser.parse(table, day)
