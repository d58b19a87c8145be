"""Is what was read right: outcomes, snippets, and the words of PDFs against pdftotext."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence

from batch_assets.execution.isolation import IsolatedWorkers, Task
from batch_assets.ingest.documents.read import PARSE_TASK
from batch_assets.sources.documents.parse import ParseReply, ParseRequest
from benchmarks.documents_corpus import CorpusFile
from benchmarks.documents_pool import LIMITS, outcome_of

_WORD = re.compile(r"\w+")


def measure_quality(workers: IsolatedWorkers, files: Sequence[CorpusFile]) -> dict[str, object]:
    """Read every file once and compare with what is expected of it."""
    tasks = [Task(PARSE_TASK, ParseRequest(str(file.path)), LIMITS, key=file) for file in files]
    outcomes_right = outcomes = snippets_found = snippets = 0
    found, wanted = 0, 0
    wrong: list[str] = []
    for result in workers.run(tasks):
        file = result.task.key
        assert isinstance(file, CorpusFile)
        text = _text_of(result.value)
        if file.expected:
            outcomes += 1
            outcomes_right += outcome_of(result) in file.expected
            if outcome_of(result) not in file.expected:
                wrong.append(f"{file.path.name}: {outcome_of(result)}")
        if file.snippet:
            snippets += 1
            snippets_found += _squeezed(file.snippet) in _squeezed(text)
        if file.kind == "pdf" and text:
            here, there = _recalled(file, text)
            found, wanted = found + here, wanted + there
    return {
        "token_recall": found / wanted if wanted else 0.0,
        "token_recall_against": "pdftotext" if shutil.which("pdftotext") else "manifest",
        "outcomes_as_expected": outcomes_right,
        "outcomes_total": outcomes,
        "outcomes_wrong": "; ".join(sorted(wrong)),
        "snippets_found": snippets_found,
        "snippets_total": snippets,
    }


def _text_of(value: object) -> str:
    document = value.document if isinstance(value, ParseReply) else None
    return document.text if document is not None else ""


def _recalled(file: CorpusFile, text: str) -> tuple[int, int]:
    """Words of the reference that are in our text, and all of them."""
    ours = Counter(_WORD.findall(text.lower()))
    if shutil.which("pdftotext") is None:
        # Only their number is known.
        return min(ours.total(), file.tokens), file.tokens
    command = ["pdftotext", "-enc", "UTF-8", str(file.path), "-"]
    output = subprocess.run(command, capture_output=True, check=False).stdout.decode()
    theirs = Counter(_WORD.findall(output.lower()))
    return (theirs & ours).total(), theirs.total()


def _squeezed(text: str) -> str:
    return " ".join(text.split())
