import pytest

from batch_assets.ops.backfills.follow import exit_status
from batch_assets.ops.backfills.values import PartitionError
from batch_assets_tests.ops.backfills.test_texts import progress


def error(kind: str) -> PartitionError:
    return PartitionError(1, "2024-09-02", "failed", kind, "", None, None, 0, None)


@pytest.mark.parametrize(
    ("state", "success", "kinds", "status"),
    [
        ("success", 3, [], 0),
        ("failed", 0, ["UnreadableSource"], 1),
        ("failed", 0, ["NotOfOurs"], 1),
        ("partial", 2, ["UnreadableSource", "RejectLimitExceeded"], 3),
        ("failed", 0, ["WindowRuleBroken"], 3),
        ("partial", 2, ["SourceUnavailable"], 4),
        ("failed", 0, ["LeaseHeld", "LeaseHeld"], 5),
        ("failed", 0, ["SourceRateLimited", "SourceUnavailable"], 6),
        ("failed", 0, ["SourceUnavailable", "UnreadableSource"], 1),
        ("canceled", 0, [], 1),
    ],
)
def test_exit_status_says_how_it_ended(
    state: str, success: int, kinds: list[str], status: int
) -> None:
    seen = progress(state, success=success)

    assert exit_status(seen, [error(kind) for kind in kinds]) == status
