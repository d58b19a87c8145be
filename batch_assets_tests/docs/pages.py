"""Where the pages are, and the commands that stand in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class PageCommand:
    """One command of a page, with its continued lines joined.

    Attributes:
        page: Relative to the project.
        line: Where it begins, from 1.
        text: What a shell would be given.
    """

    page: str
    line: int
    text: str


def list_pages() -> list[Path]:
    """Every page for people: README, docs, examples."""
    return [
        *sorted(PROJECT.glob("README*.md")),
        *sorted((PROJECT / "docs").rglob("*.md")),
        *sorted((PROJECT / "examples").rglob("*.md")),
    ]


def list_blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def list_commands() -> Iterator[PageCommand]:
    """Lines of console blocks that begin with `$ `, and whole blocks of sh."""
    for page in list_pages():
        language, pending = "", None
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("```"):
                language, pending = line[3:] if not language else "", None
                continue
            if pending is not None:
                pending = PageCommand(pending.page, pending.line, f"{pending.text} {line.strip()}")
            elif language == "console" and line.startswith("$ "):
                pending = PageCommand(str(page.relative_to(PROJECT)), number, line[2:])
            elif language == "sh" and line.strip() and not line.startswith("#"):
                pending = PageCommand(str(page.relative_to(PROJECT)), number, line)
            if pending is not None:
                if pending.text.endswith("\\"):
                    pending = PageCommand(pending.page, pending.line, pending.text[:-1].rstrip())
                else:
                    yield pending
                    pending = None
