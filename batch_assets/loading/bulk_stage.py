"""Stage a large window from streams, chunk by chunk, each committed with its checkpoint."""

import time
from typing import TYPE_CHECKING

import psutil

from batch_assets.loading.bulk import BulkFeed, copy_stream
from batch_assets.loading.checkpoints import Chunk
from batch_assets.loading.staging import place_constants

if TYPE_CHECKING:
    from batch_assets.loading.oversized import OversizedLoad


def stage_streams(load: "OversizedLoad", feed: BulkFeed) -> None:
    """Stage what is missing; the size of the next chunk is asked for when it begins.

    Args:
        feed: With `chunks`.
    """
    assert feed.chunks is not None  # noqa: S101 - the caller asked
    size = load.chunk_size
    for chunk in feed.chunks(load.progress.position, lambda: size.current_rows):
        started = time.perf_counter()
        chunk_no = load.progress.chunk_no + 1
        constants = place_constants(chunk_no, load.source.source_file)
        columns = [*load.publisher.context.contract.columns.names, *constants]
        with chunk.open(constants) as stream:
            staged = copy_stream(load.conn, load.table.name, columns, stream)
        load.commit_chunk(
            Chunk(
                chunk_no=chunk_no,
                staged=staged,
                read=stream.read,
                rejected=len(stream.rejected),
                skipped=stream.skipped,
                position=chunk.position,
                broken={},
            ),
            list(stream.rejected),
        )
        size.observe(time.perf_counter() - started, psutil.Process().memory_info().rss)
