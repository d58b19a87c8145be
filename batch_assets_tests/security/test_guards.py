"""What must hold of every file: statements, locks, and the names on the page about security."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
_PACKAGE = PROJECT / "batch_assets"
_EXECUTING = {"execute", "executemany", "copy", "SQL"}
_LOCKS = ("requirements.lock", "deploy/compose/requirements.lock")


def test_no_statement_is_put_together_from_text() -> None:
    found = [
        f"{path.relative_to(PROJECT)}:{line}"
        for path in sorted(_PACKAGE.rglob("*.py"))
        for line in _assembled_statements(path.read_text(encoding="utf-8"))
    ]

    assert found == []


def test_the_guard_sees_statements_put_together_from_text() -> None:
    text = (
        "conn.execute(f'SELECT {name}')\n"
        "conn.execute('SELECT %s' % name)\n"
        "conn.execute('SELECT {}'.format(name))\n"
        "sql.SQL('SELECT ' + name)\n"
        "conn.execute('SELECT ' 'one')\n"
        "conn.execute(sql.SQL('SELECT {}').format(name))\n"
    )

    assert list(_assembled_statements(text)) == [1, 2, 3, 4]


def test_no_program_and_no_server_file_is_copied() -> None:
    texts = [*_PACKAGE.rglob("*.py"), *(PROJECT / "sql").rglob("*.sql")]
    pattern = re.compile(r"\b(FROM|TO)\s+PROGRAM\b|\bpg_read_(binary_)?file\b|\blo_(im|ex)port\b")

    assert [str(path) for path in texts if pattern.search(path.read_text(encoding="utf-8"))] == []


def test_every_line_of_the_locks_has_hashes() -> None:
    for name in _LOCKS:
        joined = (PROJECT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        pinned = [line for line in joined.splitlines() if line and line[0] not in "# "]
        assert pinned
        assert [line for line in pinned if "==" not in line or "--hash=sha256:" not in line] == []


def test_every_test_that_the_page_names_exists() -> None:
    page = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    written = {
        name
        for path in (PROJECT / "batch_assets_tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert named
    assert named - written == set()


def _assembled_statements(text: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        is_executing = isinstance(node.func, ast.Attribute) and node.func.attr in _EXECUTING
        if is_executing and _is_assembled(node.args[0]):
            yield node.lineno


def _is_assembled(node: ast.expr) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(value, ast.FormattedValue) for value in node.values)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Mod) or not (
            isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant)
        )
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and isinstance(node.func.value, ast.Constant)
    )
