"""No failpoint of the code is one that nothing ever reaches."""

import ast
from pathlib import Path

from batch_assets_tests.scenarios.matrix.faults import FAULTS
from batch_assets_tests.scenarios.matrix.scenario import sample

PROJECT = Path(__file__).resolve().parents[3]
TESTS = PROJECT / "batch_assets_tests"

# Other crash tests arm these, and fail where the process does not die of it.
ARMED_ELSEWHERE = {
    "publish.after_lease": "scenarios/test_crash_load.py",
    "publish.after_copy": "scenarios/test_crash_load.py",
    "publish.before_commit": "scenarios/test_crash_load.py",
    "publish.after_commit": "scenarios/test_crash_load.py",
    "stage.after_copy": "scenarios/test_crash_load.py",
    "stage.before_commit": "scenarios/test_crash_load.py",
    "stage.after_commit": "scenarios/test_crash_load.py",
    "bulk.after_copy": "ingest/tables/test_crash.py",
    "queue.before_mark": "ingest/tables/test_crash.py",
    "stream.before_commit": "ingest/devices/test_load.py",
    "stream.after_commit": "ingest/devices/test_load.py",
    "stream.after_rows": "ingest/devices/test_load.py",
    "stream.after_lease": "scenarios/test_crash_documents.py",
    "relay.after_send": "ingest/devices/test_relay.py",
    "replay.before_commit": "ops/cli/test_crash_replay.py",
    "replay.after_commit": "ops/cli/test_crash_replay.py",
    "replay.after_answers": "ops/cli/test_crash_replay.py",
    "embeddings.after_answer": "scenarios/test_crash_embedding.py",
    "embeddings.before_commit": "scenarios/test_crash_embedding.py",
    "embeddings.after_commit": "scenarios/test_crash_embedding.py",
}

# Nobody arms these but the soak, which fails where they do not fire.
ONLY_IN_THE_SOAK = {
    *("read.after_batch", "run.before_event"),
    *("dead_letters.after_write", "checkpoint.after_write"),
}


def reached_names() -> set[str]:
    """The argument of every call of `reach` in the package."""
    names = set()
    for file in (PROJECT / "batch_assets").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "reach"
            ):
                (name,) = node.args
                assert isinstance(name, ast.Constant), f"{file}: a name that cannot be read"
                names.add(str(name.value))
    return names


def test_every_failpoint_fires_in_a_scenario_or_in_a_test_that_is_named_here() -> None:
    in_sample = {name for scenario in sample() for name in scenario.fault.failpoints}

    assert reached_names() == in_sample | set(ARMED_ELSEWHERE) | ONLY_IN_THE_SOAK


def test_every_failpoint_of_a_market_load_is_in_the_catalogue() -> None:
    names = {name for fault in FAULTS for name in fault.failpoints}

    in_loads = {n for n, file in ARMED_ELSEWHERE.items() if file.endswith("test_crash_load.py")}
    assert in_loads | ONLY_IN_THE_SOAK < names


def test_tests_named_here_arm_their_failpoints() -> None:
    silent = {
        name: file
        for name, file in ARMED_ELSEWHERE.items()
        if name not in (TESTS / file).read_text("utf-8")
    }

    assert silent == {}
