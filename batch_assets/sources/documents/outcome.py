"""The closed set of ends a document can come to, and what a person can do about each.

Which file gets which is decided by the parsers; timeout and crash are given by the caller that
runs them in a process of their own.
"""

from enum import StrEnum
from typing import Literal

from batch_assets.errors import UnreadableSource

Language = Literal["en", "zh"]


class DocumentOutcome(StrEnum):
    """How the reading of one file ended; each file has exactly one."""

    OK = "ok"
    EMPTY_TEXT = "empty_text"
    ENCRYPTED = "encrypted"
    CORRUPT = "corrupt"
    UNSUPPORTED = "unsupported"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASH = "crash"
    TOO_LARGE = "too_large"


class DocumentRefused(UnreadableSource):
    """A file has no text we can give; carries the outcome and a reason of its own."""

    def __init__(self, outcome: DocumentOutcome, reason: str) -> None:
        super().__init__(outcome, reason)
        self.outcome = outcome
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.outcome.value}: {self.reason}"


def reason_of(outcome: DocumentOutcome, language: Language = "en") -> str:
    """What the outcome means, in plain words."""
    return _TEXTS[outcome][language][0]


def advice_of(outcome: DocumentOutcome, language: Language = "en") -> str:
    """What to do next about a file with this outcome."""
    return _TEXTS[outcome][language][1]


# For each outcome and language: what it means, what to do.
_TEXTS: dict[DocumentOutcome, dict[Language, tuple[str, str]]] = {
    DocumentOutcome.OK: {
        "en": ("The text was read.", "Nothing to do."),
        "zh": ("文本已读取。", "无需处理。"),
    },
    DocumentOutcome.EMPTY_TEXT: {
        "en": (
            "The file opens but holds no text, for example scanned pages.",
            "Run OCR on it (for example ocrmypdf) and drop it again; "
            "if it is meant to be empty, nothing to do.",
        ),
        "zh": (
            "文件可以打开，但没有文本，例如扫描件。",
            "请先做文字识别（OCR，例如 ocrmypdf）再重新放入；若本来就是空文件，则无需处理。",
        ),
    },
    DocumentOutcome.ENCRYPTED: {
        "en": (
            "The file is protected by a password.",
            "Save a copy without the password and drop that.",
        ),
        "zh": ("文件有密码保护。", "请另存为不带密码的副本，然后重新放入。"),
    },
    DocumentOutcome.CORRUPT: {
        "en": (
            "The file is damaged or incomplete.",
            "Open it in its own program; if that works, save it again and drop the new copy, "
            "otherwise fetch it from its origin once more.",
        ),
        "zh": (
            "文件已损坏或不完整。",
            "请用原程序打开：若能打开，请另存后重新放入；若不能，请从来源重新获取。",
        ),
    },
    DocumentOutcome.UNSUPPORTED: {
        "en": (
            "This kind of file is not read.",
            "Save it as .docx, .pptx, .xlsx or .pdf and drop that.",
        ),
        "zh": ("不支持这种文件类型。", "请另存为 .docx、.pptx、.xlsx 或 .pdf 后重新放入。"),
    },
    DocumentOutcome.TIMEOUT: {
        "en": (
            "Reading took longer than the time limit and was stopped.",
            "Split the file, or raise the time limit of the source and retry the failed documents.",
        ),
        "zh": (
            "读取超过时间限制，已终止。",
            "请拆分文件，或提高该来源的时间限制后重试失败的文件。",
        ),
    },
    DocumentOutcome.MEMORY: {
        "en": (
            "Reading needed more memory than a worker may use.",
            "Split the file, or raise the memory limit of the source "
            "and retry the failed documents.",
        ),
        "zh": (
            "读取所需内存超过工作进程的上限。",
            "请拆分文件，或提高该来源的内存限制后重试失败的文件。",
        ),
    },
    DocumentOutcome.CRASH: {
        "en": (
            "The reading process died on this file, twice.",
            "Open it in its own program, save it again and drop the new copy.",
        ),
        "zh": (
            "读取该文件时工作进程两次异常退出。",
            "请用原程序打开并另存，然后放入新的副本。",
        ),
    },
    DocumentOutcome.TOO_LARGE: {
        "en": (
            "The file, or what it unpacks to, is larger than the limits of the source.",
            "Split the file, or raise the limit that the reason names and retry.",
        ),
        "zh": (
            "文件或其解压后的内容超过该来源的限制。",
            "请拆分文件，或提高原因中提到的限制后重试。",
        ),
    },
}
