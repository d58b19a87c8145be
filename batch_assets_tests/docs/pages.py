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


# Programs whose commands may stand in a block that is indented instead of fenced.
_INDENTED = re.compile(r"^    (?=(?:python|batch-assets|dagster|docker|pytest) )")


def list_commands() -> Iterator[PageCommand]:
    """Lines of console blocks that begin with `$ `, whole blocks of sh, and indented commands."""
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
            elif not language and _INDENTED.match(line):
                pending = PageCommand(str(page.relative_to(PROJECT)), number, line.strip())
            if pending is not None:
                if pending.text.endswith("\\"):
                    pending = PageCommand(pending.page, pending.line, pending.text[:-1].rstrip())
                else:
                    yield pending
                    pending = None


_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_NAMED = re.compile(r"(?:batch-assets|python -m|dagster|docker compose|pytest|helm) ")
# Tables whose first column names commands of ours without the program.
_TABLE = re.compile(r"^\| (?:command|命令) \|.*\n\|[ -|]*\n((?:\|.*\n)+)", re.MULTILINE)


def prose_of(page: Path) -> str:
    """A page without its fenced blocks; lines keep their numbers."""
    return _FENCED.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"))


def list_named_commands() -> Iterator[PageCommand]:
    """Commands between backticks, in sentences and in tables of commands."""
    for page in list_pages():
        text, name = prose_of(page), str(page.relative_to(PROJECT))
        for span in _SPAN.finditer(text):
            command = " ".join(span[1].split())
            if _NAMED.match(command):
                yield PageCommand(name, text.count("\n", 0, span.start()) + 1, command)
        for table in _TABLE.finditer(text):
            line = text.count("\n", 0, table.start(1)) + 1
            for number, row in enumerate(table[1].splitlines()):
                for words in _SPAN.findall(row.split(" | ")[0]):
                    yield PageCommand(name, line + number, f"batch-assets {words}")
