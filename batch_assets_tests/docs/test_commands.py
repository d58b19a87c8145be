"""Commands of the pages are ones that their programs take; nothing is run for that."""

from collections.abc import Callable
from pathlib import Path

import pytest

from batch_assets_tests.docs.command_lines import (
    SimpleCommand,
    WrongCommand,
    check_line,
    check_named,
    split_shell,
)
from batch_assets_tests.docs.pages import PageCommand, list_commands, list_named_commands


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a reader's own folder is there."""
    (tmp_path / "FOLDER").mkdir()
    monkeypatch.chdir(tmp_path)


def refusals(commands: list[PageCommand], check: Callable[[str], None]) -> str:
    """A line for each command that its program would refuse."""
    refused = []
    for command in commands:
        try:
            check(command.text)
        except WrongCommand as refusal:
            refused.append(f"{command.page}:{command.line}: {command.text}: {refusal}")
    return "\n".join(refused)


def test_every_command_of_a_block_is_one_that_its_program_takes() -> None:
    commands = list(list_commands())

    assert len(commands) > 100
    assert refusals(commands, check_line) == ""


def test_every_command_that_is_named_exists() -> None:
    commands = list(list_named_commands())

    assert len(commands) > 100
    assert refusals(commands, check_named) == ""


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("batch-assets plan market --fromm 2024-09-25", "--fromm"),
        ("batch-assets db backup", "Missing"),
        ("batch-assets doctor now", "extra argument"),
        ("batch-assets nothing", "No such command"),
        ("batch-assets tokens", "expected one of create"),
        ("batch-assets doctor && batch-assets plan", "expected one of market"),
        ("dagster job execute --tag x", "--tag"),
        ("python -m benchmarks nothing", "refused"),
        ("python -m batch_assets_tests.nothing", "a module that is there"),
        ("python -m pip install -e '.[nothing]'", "no extra nothing"),
        ("pytest -m 'slow or crash'", "no marker slow"),
        ("docker compose exec nothing psql", "no service nothing"),
        ("docker compose exec api batch-assets nothing", "No such command"),
        ("docker compose --profile nothing up", "no profile nothing"),
        ("psql --file sql/nothing.sql", "a file of the project"),
        ("curl http://127.0.0.1:8010/api/nothing", "a path of the API"),
        ("wget https://example.com", "wget"),
    ],
)
def test_a_wrong_command_is_noticed(text: str, refusal: str) -> None:
    with pytest.raises(WrongCommand, match=refusal):
        check_line(text)


def test_a_line_is_split_as_a_shell_would() -> None:
    assert list(split_shell("A=1 one 'a b' > file | two N && three  # four")) == [
        SimpleCommand("one", ("a b",)),
        SimpleCommand("two", ("1",)),
        SimpleCommand("three", ()),
    ]
