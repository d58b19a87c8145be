import threading
from datetime import timedelta

import pyarrow as pa

from batch_assets.contracts.table import Window
from batch_assets.loading.hand_over import HandOver
from batch_assets.loading.loads import Outcome
from batch_assets.loading.pipeline import Group
from batch_assets.loading.prepare import PreparedWindow
from batch_assets.loading.report import LoadState
from batch_assets_tests.loading.synthetic import DAY, source_of
from batch_assets_tests.polling import wait_until

DAY_ROWS = 4_000


def window(number: int, rows: int = DAY_ROWS) -> Group:
    """One prepared window of int64 rows, 8 bytes each."""
    prepared = PreparedWindow(
        source=source_of([], DAY + timedelta(days=number)),
        rows=pa.record_batch({"value": pa.nulls(rows, pa.int64())}),
        content_hash="",
        read=rows,
        duplicate=0,
        skipped=0,
        rejected=(),
        broken_counts={},
        seconds={},
    )
    return Group(prepared=(prepared,))


def hand_over(
    *, limit_bytes: int = 10**9, group_rows: int = 20_000, publishers: int = 1
) -> HandOver:
    return HandOver(limit_bytes, group_rows, threading.Event(), publishers)


def taken_rows(group: Group | None) -> list[int]:
    return [] if group is None else [item.rows.num_rows for item in group.prepared]


def test_the_first_window_is_not_kept_waiting_for_others() -> None:
    queue = hand_over()
    for number in range(3):
        queue.put(window(number))

    assert taken_rows(queue.take()) == [DAY_ROWS]


def test_groups_grow_up_to_their_size_while_windows_wait() -> None:
    queue = hand_over()
    for number in range(40):
        queue.put(window(number))
    queue.finish()

    sizes = []
    while (group := queue.take()) is not None:
        sizes.append(len(group.prepared))

    assert sizes[0] == 1
    assert max(sizes) == 5
    assert sum(sizes) == 40


def test_publishers_share_the_last_windows() -> None:
    queue = hand_over(group_rows=40_000, publishers=2)
    for number in range(24):
        queue.put(window(number))
    sizes = []
    while sum(sizes) < 18:
        sizes.append(len(taken_rows(queue.take())))
    queue.finish()

    left = 24 - sum(sizes)
    rest = []
    while (group := queue.take()) is not None:
        rest.append(len(taken_rows(group)))

    # Each takes its share of what there is, so that none has much left when the others have ended.
    assert left > 4
    assert rest[0] == -(-left // 2)
    assert sum(rest) == left


def test_a_slow_source_is_published_as_it_comes() -> None:
    queue = hand_over()
    taken: list[Group | None] = []
    publishing = threading.Thread(target=lambda: taken.append(queue.take()))
    publishing.start()

    queue.put(window(0, rows=1))
    publishing.join(timeout=10)

    assert taken_rows(taken[0]) == [1]


def test_the_same_window_twice_is_not_in_one_group() -> None:
    queue = hand_over()
    for _ in range(2):
        queue.put(window(7, rows=10))
    queue.finish()

    assert [taken_rows(queue.take()), taken_rows(queue.take())] == [[10], [10]]


def test_what_needs_only_a_line_in_the_ledger_goes_first() -> None:
    queue = hand_over()
    skipped = Group(outcomes=(Outcome(Window("closed"), LoadState.SKIPPED),))
    queue.put(window(0))
    queue.put(skipped)

    assert queue.take() == skipped


def test_the_reader_is_held_back_until_enough_is_given_back() -> None:
    queue = hand_over(limit_bytes=window(0).size_bytes)
    queue.put(window(0))
    passed = threading.Event()
    reading = threading.Thread(target=lambda: queue.put(window(1)) and passed.set())
    reading.start()

    group = queue.take()
    assert group is not None
    assert not passed.wait(0.2)
    queue.release(group.size_bytes)
    reading.join(timeout=10)

    assert passed.is_set()


def test_a_reader_that_is_held_back_does_not_wait_for_a_group_to_fill() -> None:
    # Rows that are too few for a group, and no room for more of them: only publishing helps.
    queue = hand_over(limit_bytes=window(0, rows=10).size_bytes)
    queue.put(window(0, rows=10))
    reading = threading.Thread(target=queue.put, args=(window(1, rows=10),))
    reading.start()
    wait_until(lambda: queue._is_reader_blocked, "a reader without room")

    assert taken_rows(queue.take()) == [10]

    queue.release(window(0, rows=10).size_bytes)
    reading.join(timeout=10)


def test_one_group_above_the_whole_limit_passes_alone() -> None:
    assert hand_over(limit_bytes=100).put(window(0))


def test_everybody_who_waits_is_released_when_the_load_stops() -> None:
    queue = hand_over(limit_bytes=window(0).size_bytes)
    queue.put(window(0))
    queue.take()
    answers: list[object] = []
    waiting = [
        threading.Thread(target=lambda: answers.append(queue.put(window(1)))),
        threading.Thread(target=lambda: answers.append(queue.take())),
    ]
    for thread in waiting:
        thread.start()

    queue.stop.set()
    queue.wake()
    for thread in waiting:
        thread.join(timeout=10)

    assert sorted(answers, key=str) == [False, None]
