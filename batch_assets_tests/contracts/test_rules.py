import pyarrow as pa
import pyarrow.compute as pc
import pytest

from batch_assets.contracts.rules import RowRule, fails_window, not_negative, required

RULE = RowRule(
    name="odd",
    columns=("x",),
    broken=lambda batch: pc.is_null(batch.column("x")),
    expected="no odd row",
    window_limit_ratio=0.05,
)


@pytest.mark.parametrize(
    ("broken", "read", "fails"),
    [
        (0, 0, False),
        (5, 100, False),
        (6, 100, True),
        (1, 8, False),  # 12 %, but one genuine exception is no sign of a wrong unit
        (2, 8, False),
        (3, 8, True),
        (1, 1, True),  # all it has
        (2, 2, True),
        (1, 2, False),
    ],
)
def test_a_window_fails_by_share_unless_the_share_is_of_a_handful(
    broken: int, read: int, fails: bool
) -> None:
    assert fails_window(RULE, broken, read) is fails


def test_a_rule_without_a_limit_never_fails_a_window() -> None:
    assert not fails_window(required("x"), 100, 100)


def test_values_are_judged_and_null_is_kept() -> None:
    batch = pa.record_batch({"x": pa.array([-1, 0, None], pa.int64())})

    assert not_negative("x").broken(batch).to_pylist() == [True, False, None]
    assert required("x").broken(batch).to_pylist() == [False, False, True]
