"""docs/promises.md names a test for everything that the README promises, and each exists."""

import ast
import re

import pytest

from batch_assets_tests.docs.pages import PROJECT

PAGE = (PROJECT / "docs" / "promises.md").read_text(encoding="utf-8")
README = (PROJECT / "README.md").read_text(encoding="utf-8")
# Words of the table of schemas that name no table.
SCHEMAS = {"documents", "docs"}
ROW = re.compile(r"^\| (?!---)(.+?) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`[^`\s]*?(test_\w+)`")
PLACE = re.compile(r"`([\w/]+\.py)(?:::test_\w+)?`")


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def rows(text: str) -> dict[str, str]:
    found = ROW.findall(text)
    return dict(found[1:])


# Chapter, words of the README, tests.
CLAIMS = re.findall(
    r"^\| (?!---|chapter)(.+?) \| (.+?) \| (.+) \|$",
    section(PAGE, "What its other chapters say"),
    re.MULTILINE,
)


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
    chapters = re.findall(r"^## (.+)$", README, re.MULTILINE)

    # What you get is listed row by row.
    assert list(dict.fromkeys(chapter for chapter, _, _ in CLAIMS)) == [
        chapter for chapter in chapters if chapter != "What you get"
    ]


@pytest.mark.parametrize(("chapter", "words", "tests"), CLAIMS, ids=[row[1] for row in CLAIMS])
def test_each_claim_stands_in_its_chapter_and_has_tests(
    chapter: str, words: str, tests: str
) -> None:
    assert words in " ".join(section(README, chapter).split())
    assert TEST.findall(tests)


def test_every_table_of_the_readme_is_in_the_database() -> None:
    schema = (PROJECT / "sql" / "schema.sql").read_text(encoding="utf-8")
    made = set(
        re.findall(r"^CREATE (?:TABLE|VIEW|FUNCTION|UNLOGGED TABLE) ([\w.]+)", schema, re.MULTILINE)
    )
    schemas = rows(section(README, "Your database"))
    assert len(schemas) == 6
    for name, content in schemas.items():
        listed = [word for word in re.findall(r"`([a-z_]+)[^`]*`", content) if "/" not in word]
        for table in listed:
            assert f"{name.strip('`')}.{table}" in made or table in SCHEMAS, (name, table)


def test_every_package_is_in_the_tree_of_the_readme() -> None:
    tree = set(re.findall(r"^  (\w+)(?:/|\.py) ", section(README, "The code"), re.MULTILINE))
    packages = {
        path.stem
        for path in (PROJECT / "batch_assets").iterdir()
        if (path.is_dir() and (path / "__init__.py").exists()) or path.name == "settings.py"
    }

    assert tree == packages


def test_every_test_that_is_named_exists() -> None:
    existing = existing_tests()

    assert [name for name in TEST.findall(PAGE) if name not in existing] == []


def test_every_file_that_is_named_exists() -> None:
    for name in PLACE.findall(PAGE):
        assert (PROJECT / "batch_assets_tests" / name).is_file(), name
