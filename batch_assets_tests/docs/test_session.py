"""Every command of the pages is run by a test: many of them here, one after the other."""

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

from batch_assets.ops.cli.main import run
from batch_assets.settings import current_settings
from batch_assets_tests.docs.command_lines import (
    check_named,
    documented_names,
    name_of,
    split_shell,
)
from batch_assets_tests.docs.pages import PROJECT
from batch_assets_tests.docs.session import BY_HAND, ELSEWHERE, SESSION

TESTS = PROJECT / "batch_assets_tests"


def session_names() -> set[str]:
    return {name_of(simple) for text, _ in SESSION for simple in split_shell(text)} - {""}


def test_each_command_of_the_pages_has_its_one_place() -> None:
    documented, here = documented_names() - {""}, session_names()

    assert documented - here - set(ELSEWHERE) - set(BY_HAND) == set(), "no test runs these"
    assert set(ELSEWHERE) & (here | set(BY_HAND)) == set()
    for name in (*ELSEWHERE, *BY_HAND):
        check_named(name)


@pytest.mark.parametrize(("command", "node"), ELSEWHERE.items(), ids=ELSEWHERE)
def test_the_test_that_is_named_runs_the_command(command: str, node: str) -> None:
    file, _, function = node.partition("::")
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    functions = {item.name for item in ast.walk(tree) if isinstance(item, ast.FunctionDef)}
    told = {
        word
        for item in ast.walk(tree)
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
        for word in item.value.split()
    }
    imported = {item.module for item in ast.walk(tree) if isinstance(item, ast.ImportFrom)}

    assert function in functions
    assert set(re.sub("^(batch-assets|python -m benchmarks|python -m)", "", command).split()) <= (
        told | imported
    )


@pytest.mark.long
def test_commands_of_the_pages_work_one_after_the_other(
    postgres_empty: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres_empty)

    for text, expected in SESSION:
        current_settings.cache_clear()
        status = run_line(text, monkeypatch)
        said = capsys.readouterr()
        assert status == expected, f"$ {text}\n{said.out[-2000:]}{said.err[-2000:]}"


def run_line(text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Ours in this process, a shell's own effect on it, and all others in a shell."""
    (command,) = split_shell(text)
    if command.program == "batch-assets":
        return run(list(command.arguments))
    if command.program == "cd":
        monkeypatch.chdir(command.arguments[0])
        return 0
    return subprocess.run(
        ["bash", "-c", text], env=dict(os.environ), timeout=600, check=False
    ).returncode
