"""How the end of a worker's task becomes the outcome of a document."""

import pytest

from batch_assets.execution.isolation import Task, TaskLimits, TaskOutcome, TaskResult
from batch_assets.ingest.documents.advice import file_advice
from batch_assets.ingest.documents.read import PARSE_TASK, FileFault, _judge
from batch_assets.sources.documents.outcome import DocumentOutcome

TASK = Task(PARSE_TASK, None, TaskLimits(60, 1024**3))


@pytest.mark.parametrize(
    ("ended", "outcome", "said"),
    [
        (TaskOutcome.TIMEOUT, "timeout", "not read within 60 s"),
        (TaskOutcome.MEMORY, "memory", "more than 1,073,741,824 bytes"),
        (TaskOutcome.CRASH, "crash", "signal 11"),
        (TaskOutcome.ERROR, "crash", "signal 11"),
    ],
)
def test_end_of_a_worker_is_the_end_of_the_document(
    ended: TaskOutcome, outcome: str, said: str
) -> None:
    found, reason, reply = _judge(TaskResult(TASK, ended, error="ended by signal 11"))

    assert (found, reply) == (outcome, None)
    assert said in reason


@pytest.mark.parametrize("outcome", [*DocumentOutcome, *FileFault])
def test_every_outcome_has_advice_in_both_languages(outcome: str) -> None:
    assert file_advice(outcome)
    assert file_advice(outcome, "zh") != file_advice(outcome)
