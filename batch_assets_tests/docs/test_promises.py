"""docs/promises.md names a test for everything that the README promises, and each exists."""

import ast
import re

from batch_assets_tests.docs.pages import PROJECT

PAGE = (PROJECT / "docs" / "promises.md").read_text(encoding="utf-8")
README = (PROJECT / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?!---)(.+?) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`[^`\s]*?(test_\w+)`")
PLACE = re.compile(r"`([\w/]+\.py)(?:::test_\w+)?`")


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def rows(text: str) -> dict[str, str]:
    found = ROW.findall(text)
    return dict(found[1:])


def existing_tests() -> set[str]:
    """Names of every test function and module of the suite."""
    names: set[str] = set()
    for file in (PROJECT / "batch_assets_tests").rglob("*.py"):
        names.add(file.stem)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
    return names


def test_every_row_of_the_readme_has_its_tests() -> None:
    promised = rows(section(README, "What you get"))
    listed = rows(section(PAGE, "What the README says you get"))

    assert list(listed) == list(promised)
    for row, tests in listed.items():
        assert TEST.findall(tests), row


def test_every_chapter_of_the_readme_that_promises_has_its_tests() -> None:
    listed = rows(section(PAGE, "What its other chapters say"))
    chapters = re.findall(r"^## (.+)$", README, re.MULTILINE)
    # What you get is listed row by row; the rest names things and promises nothing.
    assert set(chapters) - set(listed) <= {"What you get", "Platforms", "The code"}
    assert set(listed) <= set(chapters)


def test_every_test_that_is_named_exists() -> None:
    existing = existing_tests()

    assert [name for name in TEST.findall(PAGE) if name not in existing] == []


def test_every_file_that_is_named_exists() -> None:
    for name in PLACE.findall(PAGE):
        assert (PROJECT / "batch_assets_tests" / name).is_file(), name
