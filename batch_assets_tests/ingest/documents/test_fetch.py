"""Fetching ahead: several at once, in order, bounded by bytes, nothing left behind."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from batch_assets.ingest.documents.fetch import fetch_ahead
from batch_assets_tests.polling import wait_until


class Store:
    """Fetches that wait until they are let go.

    Attributes:
        begun: Items whose fetch has begun.
        gate: Opened for all of them.
        discarded: What nobody took.
    """

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.gate = threading.Event()
        self.discarded: list[str] = []

    def fetch(self, item: int) -> str:
        self.begun.append(item)
        assert self.gate.wait(20)
        if item < 0:
            raise OSError("the store is gone")
        return f"copy of {item}"


def test_next_files_are_fetched_while_the_first_is_waited_for_and_come_in_order() -> None:
    store = Store()
    taken: list[tuple[int, str]] = []

    def take() -> None:
        taken.extend(fetch_ahead(range(20), store.fetch, lambda _: 1, store.discarded.append))

    reader = threading.Thread(target=take)
    reader.start()
    wait_until(lambda: len(store.begun) == 4, "four are under way")
    store.gate.set()
    reader.join(20)

    assert taken == [(number, f"copy of {number}") for number in range(20)]
    assert store.discarded == []


def test_what_is_ahead_is_bounded_by_bytes_and_a_larger_file_goes_alone() -> None:
    store = Store()
    store.gate.set()
    sizes = [40, 40, 40, 500, 40]
    asked: list[int] = []
    most = 0

    def items() -> Iterator[int]:
        for number in range(len(sizes)):
            asked.append(number)
            yield number

    taken = 0
    ahead = fetch_ahead(
        items(), store.fetch, lambda number: sizes[number], store.discarded.append, ahead_bytes=100
    )
    for number, _ in ahead:
        # Begun and not taken yet, the one in hand included.
        held = [sizes[one] for one in store.begun if one >= number]
        most = max(most, sum(held) if len(held) > 1 else 0)
        taken += 1

    assert taken == len(sizes)
    assert most <= 100


def test_copies_that_nobody_takes_are_discarded() -> None:
    store = Store()
    store.gate.set()
    ahead = fetch_ahead(range(100), store.fetch, lambda _: 1, store.discarded.append)

    with closing(ahead):
        assert next(ahead) == (0, "copy of 0")

    assert set(store.discarded) == {f"copy of {one}" for one in store.begun if one > 0}


def test_failure_of_one_fetch_comes_in_its_turn() -> None:
    store = Store()
    store.gate.set()
    taken: list[int] = []
    ahead = fetch_ahead([1, 2, -1, 4], store.fetch, lambda _: 1, store.discarded.append)

    with pytest.raises(OSError, match="the store is gone"):
        taken.extend(number for number, _ in ahead)

    assert taken == [1, 2]
    assert set(store.discarded) <= {"copy of 4"}
