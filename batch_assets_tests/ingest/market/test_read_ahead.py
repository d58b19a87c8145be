import threading
from collections.abc import Generator

import pytest

from batch_assets.ingest.market.read_ahead import read_ahead
from batch_assets_tests.polling import wait_until


def test_the_next_item_is_made_while_the_caller_has_the_present_one() -> None:
    made: list[int] = []

    def items() -> Generator[int, None, None]:
        for number in range(3):
            made.append(number)
            yield number

    given = read_ahead(items())

    assert next(given) == 0
    wait_until(lambda: made == [0, 1], "the second item, and not the third")
    assert list(given) == [1, 2]


def test_a_failure_comes_where_the_item_would_have_come() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise KeyError("the second")

    given = read_ahead(items())

    assert next(given) == 1
    with pytest.raises(KeyError, match="the second"):
        next(given)


def test_all_of_the_source_runs_in_one_thread_its_end_too() -> None:
    threads: list[str] = []

    def items() -> Generator[int, None, None]:
        try:
            for number in range(100):
                threads.append(threading.current_thread().name)
                yield number
        finally:
            threads.append(threading.current_thread().name)

    given = read_ahead(items())
    next(given)
    given.close()  # type: ignore[attr-defined]  # reason: it is a generator

    assert len(threads) in (2, 3)
    assert len(set(threads)) == 1
    assert threads[0] != threading.current_thread().name
