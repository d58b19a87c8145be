from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from pydantic import BaseModel

from batch_assets.ops.api.backfill_answers import (
    AuditAnswer,
    BackfillAnswer,
    ErrorAnswer,
    ProgressAnswer,
)
from batch_assets.ops.backfills.documents import write_junit
from batch_assets.ops.backfills.values import (
    AuditEntry,
    Backfill,
    PartitionError,
    PartitionOutcome,
    Progress,
)
from batch_assets_tests.ops.backfills.test_texts import progress


def test_report_of_ci_has_a_case_for_each_partition_and_says_which_were_skipped(
    tmp_path: Path,
) -> None:
    outcomes = [
        PartitionOutcome("2025-10-01", "skipped", "holiday", 0.0),
        PartitionOutcome("2025-10-02", "failed", "UnreadableSource", 0.25),
        PartitionOutcome("2025-10-03", "success", "", 1.5),
        PartitionOutcome("2025-10-04", "waiting", "", 0.0),
    ]
    errors = [
        PartitionError(4, "2025-10-04", "waiting", "", "", None, None, 0, None),
        PartitionError(
            2, "2025-10-02", "failed", "UnreadableSource", "a\x00b <cut>", 7, "r", 0, None
        ),
    ]

    write_junit(tmp_path / "j.xml", progress("partial", skipped=1), outcomes, errors)

    (suite,) = ET.parse(tmp_path / "j.xml").getroot()
    counts = [suite.get(name) for name in ("tests", "failures", "skipped", "time")]
    assert counts == ["4", "2", "1", "930.000"]
    skipped, failed, good, waiting = list(suite)
    assert [child.attrib for child in skipped] == [{"message": "holiday"}]
    assert [(child.tag, child.attrib) for child in failed] == [
        ("failure", {"type": "UnreadableSource", "message": "a?b <cut>"})
    ]
    assert (list(good), good.get("time")) == ([], "1.500")
    assert [child.get("type") for child in waiting] == ["waiting"]


@pytest.mark.parametrize(
    ("answer", "value", "computed"),
    [
        (ProgressAnswer, Progress, {"total", "done", "done_pct", "seconds"}),
        (BackfillAnswer, Backfill, {"phase"}),
        (ErrorAnswer, PartitionError, set()),
        (AuditAnswer, AuditEntry, set()),
    ],
)
def test_api_documents_every_field_there_is(
    answer: type[BaseModel], value: type, computed: set[str]
) -> None:
    """What is added to a value is told over HTTP too, and has to be described there."""
    assert set(answer.model_fields) == {field.name for field in fields(value)} | computed
