import threading

from batch_assets.loading.turns import Turns
from batch_assets_tests.polling import wait_until


def test_a_later_turn_waits_until_every_earlier_one_has_ended() -> None:
    turns = Turns()
    first, second, third = turns.begin(), turns.begin(), turns.begin()
    waited: list[bool] = []
    waiting = threading.Thread(target=lambda: waited.append(third.wait()))
    waiting.start()

    first.end()
    with second:
        assert second.wait()
        assert not waited
    wait_until(lambda: waited, "the third turn to go on")

    assert waited == [True]
    waiting.join()


def test_a_turn_that_lasts_keeps_nobody_waiting_for_ever() -> None:
    turns = Turns(patience_seconds=0.01)
    turns.begin()

    assert not turns.begin().wait()


def test_the_first_turn_waits_for_nobody_however_many_are_open() -> None:
    turns = Turns()
    first = turns.begin()
    turns.begin()

    assert first.wait()
