"""Read one item ahead, in a thread: a slow source works while its last answer is loaded."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(items: Generator[T, None, None]) -> Iterator[T]:
    """Give items in their order; the next one is made while the caller has the present one.

    All of the generator runs in one thread, its end too. What it raises is raised here, where the
    item would have come. A caller that stops early waits for the item that is being made.
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        try:
            coming = pool.submit(next, items, end)
            while (item := coming.result()) is not end:
                coming = pool.submit(next, items, end)
                yield item  # type: ignore[misc]  # reason: `end` is the only other object
        finally:
            pool.submit(items.close).result()
