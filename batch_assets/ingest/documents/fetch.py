"""Files of a store, copied to this machine ahead of those who read them.

While some are parsed the next ones are on their way: a store takes its time for each, and several
at once take hardly more than one. Files of this machine are not fetched, see landing_file.py.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Fetched = TypeVar("Fetched")

# Stores answer in tens of milliseconds and serve any number of connections.
FETCHES_AT_ONCE = 4

# Copies that wait to be read, and those under way; one larger file goes alone.
FETCH_AHEAD_BYTES = 64 * 1024 * 1024


def fetch_ahead(
    items: Iterable[Item],
    fetch: Callable[[Item], Fetched],
    size_of: Callable[[Item], int],
    discard: Callable[[Fetched], None],
    *,
    fetches: int = FETCHES_AT_ONCE,
    ahead_bytes: int = FETCH_AHEAD_BYTES,
) -> Generator[tuple[Item, Fetched], None, None]:
    """Fetch items in threads and give each back in its turn.

    Args:
        items: Consumed in the caller's thread, as there is room.
        fetch: Called in a thread; what it raises is raised here.
        size_of: Bytes that an item takes once it is fetched.
        discard: Called for what was fetched and not taken, because the iterator was closed.
        fetches: At once.
        ahead_bytes: Of all that is fetched or being fetched and not yet taken, except one item.

    Yields:
        Every item with what it became, in the order of `items`.
    """
    waiting: deque[tuple[Item, Future[Fetched], int]] = deque()
    pool = ThreadPoolExecutor(fetches, thread_name_prefix="fetch-documents")
    try:
        bytes_ahead = 0
        for item in items:
            size_bytes = size_of(item)
            while waiting and (
                bytes_ahead + size_bytes > ahead_bytes or len(waiting) >= 2 * fetches
            ):
                first, future, first_bytes = waiting.popleft()
                yield first, future.result()
                bytes_ahead -= first_bytes
            waiting.append((item, pool.submit(fetch, item), size_bytes))
            bytes_ahead += size_bytes
        while waiting:
            last, future, _ = waiting.popleft()
            yield last, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for _, future, _ in waiting:
            if not future.cancelled() and future.exception() is None:
                discard(future.result())
