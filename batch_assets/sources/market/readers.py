"""A file of any format to raw tables."""

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from batch_assets.errors import UnreadableSource
from batch_assets.sources.market.containers import (
    FileIdentity,
    iter_checked,
    iter_members,
    iter_unpacked,
)
from batch_assets.sources.market.csv_blocks import read_csv_tables
from batch_assets.sources.market.feed import Feed, FileFeed, FileFormat
from batch_assets.sources.market.file_names import file_format
from batch_assets.sources.market.first_bytes import HEAD_BYTES, recognise, refuse_page
from batch_assets.sources.market.numbers import NumberColumn
from batch_assets.sources.market.parse import PARSER_VERSION
from batch_assets.sources.market.raw_table import RawTable
from batch_assets.sources.market.sheets import read_parquet_tables, read_workbook_tables

_BINARY = frozenset({FileFormat.ZIP, FileFormat.PARQUET, FileFormat.XLSX})

# What decides when and how often a feed is read, and not what its cells mean.
_NOT_MEANING = frozenset(
    {
        "name", "folder", "files", "calendar", "calendar_file", "closes_at", "first_day",
        "ready_after_minutes", "schedule", "reject_limit_rows", "reject_limit_ratio", "ohlc_rule",
        "max_partitions_per_run", "max_expanded_bytes", "base_url", "host", "port", "token_env",
        "symbols", "symbols_file", "max_connections", "attempts", "first_wait_seconds",
        "max_wait_seconds", "connection_wait_seconds", "connect_timeout_seconds",
        "read_timeout_seconds",
        "reply_timeout_seconds", "max_reply_bytes", "max_reply_rows", "reuse_minutes",
        "requests_per_minute", "identical_days", "reread_sessions", "repair_days",
        "repair_schedule",
    }
)  # fmt: skip


def mapping_fingerprint(feed: Feed) -> str:
    """Identity of everything that decides which rows given bytes become."""
    unsaid = set(_NOT_MEANING)
    if isinstance(feed, FileFeed) and feed.decimal == ".":
        # A feed whose numbers mean what they always meant is not read again.
        unsaid.add("decimal")
    meaning = feed.model_dump_json(exclude=unsaid)
    # The zone may come from the calendar, and the source from the feed's name.
    parts = (PARSER_VERSION, feed.source_name, feed.zone_name, meaning)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_tables(
    path: Path, identity: FileIdentity, feed: FileFeed, numbers: dict[str, NumberColumn]
) -> Iterator[RawTable]:
    """Read one file.

    Raises:
        UnreadableSource: It cannot be opened, unpacked or decoded, or lacks a mapped column.
        SourceChanged: It is no longer what was identified.
    """
    by_name = file_format(feed, identity.name)
    if by_name is None:
        raise UnreadableSource(
            f"{identity.name}: its name does not tell its format; set `format` of feed {feed.name} "
            f"to one of {', '.join(FileFormat)}"
        )
    with closing(iter_checked(path, identity)) as pieces:
        head = next(pieces, b"")
        packed = by_name if feed.format is not None else recognise(head[:HEAD_BYTES], by_name)
        if packed not in _BINARY:
            text: Iterator[bytes] = itertools.chain((head,), pieces)
            if packed is not FileFormat.CSV:
                text = iter_unpacked(text, packed, identity, feed)
            yield from read_csv_tables(text, feed, numbers, identity.name)
            return
    refuse_page(head, identity.name)
    if packed is FileFormat.ZIP:
        yield from _read_zip(path, identity, feed, numbers)
    elif packed is FileFormat.PARQUET:
        yield from read_parquet_tables(path, identity, feed, numbers)
    else:
        yield from read_workbook_tables(path, identity, feed)


def _read_zip(
    path: Path, identity: FileIdentity, feed: FileFeed, numbers: dict[str, NumberColumn]
) -> Iterator[RawTable]:
    for member, chunks in iter_members(path, identity, feed):
        name = f"{identity.name}/{member}"
        yield from read_csv_tables(chunks, feed, numbers, name)
