"""What is remembered of spellings is right for every thread that asks."""

import threading

import pyarrow as pa

from batch_assets.sources.market.spellings import Remembered


def test_two_threads_that_meet_the_same_new_text_both_get_its_value() -> None:
    is_parsing, may_go_on = threading.Event(), threading.Event()
    found: dict[str, list[str]] = {}

    def parse(texts: pa.Array) -> pa.Array:
        is_parsing.set()
        assert may_go_on.wait(60)
        return pa.array([f"value of {text}" for text in texts.to_pylist()], pa.string())

    remembered = Remembered(parse, pa.string())

    def ask(name: str, *texts: str) -> None:
        found[name] = remembered.translate(pa.array(texts, pa.string())).to_pylist()

    first = threading.Thread(target=ask, args=("first", "a", "b"))
    second = threading.Thread(target=ask, args=("second", "b", "a", "b"))
    first.start()
    assert is_parsing.wait(60)
    second.start()
    # Time for the second to meet what the first has begun, if nothing keeps it from that.
    second.join(0.3)
    may_go_on.set()
    first.join()
    second.join()

    assert found == {
        "first": ["value of a", "value of b"],
        "second": ["value of b", "value of a", "value of b"],
    }
