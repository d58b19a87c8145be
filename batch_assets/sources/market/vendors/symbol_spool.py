"""Answers by symbol on disk: one file a symbol, so that nothing is asked twice.

A file is written whole and then given its name; a symbol without a file was not answered yet.
"""

import hashlib
import json
import logging
import os
import queue
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from batch_assets.errors import (
    BatchAssetsError,
    SourceRateLimited,
    SourceUnavailable,
    UnknownSymbol,
    UnreadableSource,
)
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.vendors.vendor import AnswersSymbols, Fetched

_log = logging.getLogger(__name__)

# A vendor that bans us softly has no symbol at all. Neighbours fail together then, while symbols
# that are truly unknown are scattered.
_FAILURES_TO_STOP = 5
_KEPT = timedelta(days=2)


class Spool:
    """The answers of one feed for one range of days.

    Attributes:
        answers_dir: Files by symbol, Parquet of text as the vendor wrote it.
        index_dir: For the index of those files.
    """

    def __init__(
        self, feed: VendorFeed, folder: Path, days: tuple[date, date], *, reuse_minutes: int
    ) -> None:
        self._feed = feed
        self._folder = folder
        self._start, self._end = days
        self._reuse_seconds = reuse_minutes * 60
        self.answers_dir = folder / "answers"
        self.index_dir = folder / "index"

    def fill(
        self, symbols: Sequence[str], open_vendor: Callable[[], AnswersSymbols], *, now: datetime
    ) -> dict[str, BatchAssetsError]:
        """Ask for the symbols that have no recent answer.

        Args:
            symbols: Canonical.
            open_vendor: Makes a vendor; one for each connection.
            now: The present, aware; answers get it as their time.

        Returns:
            Symbols that could not be fetched, with the reason; the others are on disk.

        Raises:
            SourceRefused: The vendor refuses; what was answered before is kept.
            SourceRateLimited: The vendor wants us to wait; the same.
            SourceUnavailable: Several symbols in a row failed; the same.
        """
        self.answers_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / "lock"):
            self._drop_others(symbols)
            missing = [symbol for symbol in symbols if not self._is_recent(symbol, now)]
            errors = self._ask_all(missing, open_vendor, now) if missing else {}
            texts = {symbol: str(error) for symbol, error in errors.items()}
            _write(self._folder / "errors.json", json.dumps(texts, ensure_ascii=False).encode())
        _log.info(
            "symbols fetched",
            extra={
                "feed": self._feed.name,
                "asked": len(missing),
                "kept": len(symbols) - len(missing),
                "failed": len(errors),
            },
        )
        return errors

    def _ask_all(
        self, symbols: Sequence[str], open_vendor: Callable[[], AnswersSymbols], now: datetime
    ) -> dict[str, BatchAssetsError]:
        count = min(self._feed.max_connections, len(symbols))
        vendors: queue.SimpleQueue[AnswersSymbols] = queue.SimpleQueue()
        opened = [open_vendor() for _ in range(count)]
        for vendor in opened:
            vendors.put(vendor)

        def ask(symbol: str) -> None:
            vendor = vendors.get()
            try:
                self._store(symbol, vendor.fetch_symbol(symbol, self._start, self._end), now)
            finally:
                vendors.put(vendor)

        try:
            return _collect(symbols, ask, count)
        finally:
            for vendor in opened:
                vendor.close()

    def _is_recent(self, symbol: str, now: datetime) -> bool:
        try:
            written_at = self._path(symbol).stat().st_mtime
        except FileNotFoundError:
            return False
        return 0 <= now.timestamp() - written_at < self._reuse_seconds

    def _store(self, symbol: str, answer: Fetched, now: datetime) -> None:
        if answer.malformed:
            record = answer.malformed[0]
            raise UnreadableSource(
                f"{answer.label}: record {record.row} is {record.text[:120]}, expected "
                f"{answer.cells.num_columns} fields; the vendor may have changed its format"
            )
        sink = pa.BufferOutputStream()
        pq.write_table(answer.cells, sink, compression="zstd")
        _write(self._path(symbol), sink.getvalue().to_pybytes(), at=now)

    def _path(self, symbol: str) -> Path:
        return self.answers_dir / f"{symbol}.parquet"

    def _drop_others(self, symbols: Iterable[str]) -> None:
        """Forget symbols that are not asked for any more, or their rows would be loaded."""
        wanted = {self._path(symbol).name for symbol in symbols}
        for path in self.answers_dir.iterdir():
            if path.name not in wanted:
                path.unlink(missing_ok=True)


def find_spool(
    feed: VendorFeed,
    root: Path,
    days: tuple[date, date],
    *,
    now: datetime,
    part_of: Sequence[str] | None,
    reuse_minutes: int,
) -> Spool:
    """The answers to fill for a range of days.

    A run that died after some of its days were committed comes back for a shorter range: answers
    for a longer one that are still recent serve it.

    Args:
        feed: Whose answers.
        root: Folder of all ranges of the feed.
        days: First and last day wanted.
        now: The present, aware.
        part_of: Symbols asked for in place of the feed's; their answers are kept apart.
        reuse_minutes: How long an answer is recent.
    """
    start, end = days
    if part_of is not None:
        names = hashlib.sha256("\n".join(sorted(part_of)).encode()).hexdigest()[:12]
        folder = root / f"{start}_{end}_{names}"
        return Spool(feed, folder, days, reuse_minutes=reuse_minutes)
    longer = [
        (found, folder)
        for folder in (root.iterdir() if root.is_dir() else ())
        if (found := _range_of(folder.name))
        and found[0] <= start
        and end <= found[1]
        and now.timestamp() - _filled_at(folder) < reuse_minutes * 60
    ]
    # Of several the one that was filled last: it has the most recent answers.
    found, folder = max(
        longer, key=lambda item: _filled_at(item[1]), default=(days, root / f"{start}_{end}")
    )
    return Spool(feed, folder, found, reuse_minutes=reuse_minutes)


def _range_of(name: str) -> tuple[date, date] | None:
    first, _, last = name.partition("_")
    try:
        return date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        return None  # of chosen symbols, or not ours


def _filled_at(folder: Path) -> float:
    """When an answer was last written, in seconds since the epoch; 0 where there is none."""
    answers = folder / "answers"
    if not answers.is_dir():
        return 0.0
    return max((path.stat().st_mtime for path in answers.iterdir()), default=0.0)


def _collect(
    symbols: Sequence[str], ask: Callable[[str], None], workers: int
) -> dict[str, BatchAssetsError]:
    """Ask for every symbol; stop when failures say that the rest would fail too."""
    errors: dict[str, BatchAssetsError] = {}
    streak = 0
    with ThreadPoolExecutor(workers, thread_name_prefix="vendor") as pool:
        for symbol, done in _in_order(pool, symbols, ask, ahead=2 * workers):
            failure = done.exception()
            if failure is None:
                streak = 0
                continue
            of_symbol = SourceUnavailable | UnknownSymbol | UnreadableSource
            if not isinstance(failure, of_symbol) or isinstance(failure, SourceRateLimited):
                pool.shutdown(wait=True, cancel_futures=True)
                raise failure
            errors[symbol] = failure
            streak += 1
            if streak >= _FAILURES_TO_STOP or len(errors) == len(symbols):
                pool.shutdown(wait=True, cancel_futures=True)
                raise SourceUnavailable(
                    f"{streak} symbols in a row could not be fetched, the last being {symbol}: "
                    f"{failure} The rest was not asked; what was answered is kept, so run the "
                    "partition again later"
                )
    return errors


def _in_order(
    pool: ThreadPoolExecutor, symbols: Sequence[str], ask: Callable[[str], None], *, ahead: int
) -> Iterator[tuple[str, "Future[None]"]]:
    """Finished questions in the order of the symbols, few of them begun ahead."""
    waiting: list[tuple[str, Future[None]]] = []
    for symbol in symbols:
        waiting.append((symbol, pool.submit(ask, symbol)))
        if len(waiting) >= ahead:
            wait([waiting[0][1]])
            yield waiting.pop(0)
    for symbol, done in waiting:
        wait([done])
        yield symbol, done


def prune_spools(root: Path, now: datetime, reuse_minutes: int) -> None:
    """Remove ranges that nobody has filled for so long that they would be asked again anyway."""
    if not root.is_dir():
        return
    kept = _KEPT + timedelta(minutes=reuse_minutes)
    for folder in root.iterdir():
        is_spool = (folder / "answers").is_dir()
        if is_spool and now.timestamp() - _touched_at(folder) > kept.total_seconds():
            shutil.rmtree(folder, ignore_errors=True)


def _touched_at(folder: Path) -> float:
    """When somebody last filled it, also one that was killed before the end."""
    marks = (folder / "errors.json", folder / "lock", folder / "answers")
    return max(mark.stat().st_mtime for mark in marks if mark.exists())


def _write(path: Path, content: bytes, at: datetime | None = None) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    if at is not None:
        os.utime(name, (at.timestamp(), at.timestamp()))
    Path(name).replace(path)
