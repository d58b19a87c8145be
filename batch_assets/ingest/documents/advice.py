"""What to do about a file that was not stored, and its dead letter."""

from collections.abc import Mapping

from batch_assets.contracts.batch import RejectedRow, Violation
from batch_assets.ingest.documents.read import FileFault, Finished
from batch_assets.sources.documents.outcome import DocumentOutcome, Language, advice_of

_FAULT_ADVICE: Mapping[str, Mapping[Language, str]] = {
    FileFault.REFUSED: {
        "en": "Put the file itself into the landing folder, under a plain name.",
        "zh": "请把文件本身（而非链接）以普通文件名放入投放文件夹。",
    },
    FileFault.VANISHED: {
        "en": "Nothing to do if it was moved or deleted; otherwise drop it again.",
        "zh": "若文件已被移动或删除则无需处理，否则请重新放入。",
    },
    FileFault.UNREADABLE: {
        "en": "Correct its permissions, or the disk or store; then retry the failed documents.",
        "zh": "请修正文件权限或存储故障，然后重试失败的文件。",
    },
}


def file_advice(outcome: str, language: Language = "en") -> str:
    """What to do about a file that ended so; any DocumentOutcome or FileFault."""
    if outcome in _FAULT_ADVICE:
        return _FAULT_ADVICE[outcome][language]
    return advice_of(DocumentOutcome(outcome), language)


def dead_letter_of(item: Finished) -> RejectedRow:
    """A file that was not stored; row 0 means the file as a whole."""
    violation = Violation(
        rule=str(item.outcome),
        column="",
        observed=item.reason,
        expected="a document whose text can be read",
        hint=file_advice(item.outcome),
    )
    return RejectedRow(
        file=item.file.path,
        row=0,
        violations=(violation,),
        original={
            "path": item.file.path,
            "size_bytes": str(item.file.size_bytes),
            "sha256": item.sha256,
        },
        window_value=item.file.arrival_day,
    )
