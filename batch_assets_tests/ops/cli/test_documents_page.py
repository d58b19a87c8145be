"""The commands of docs/documents.md and README.md about documents run as they are written."""

import re
import shlex
from pathlib import Path

import pytest

from batch_assets.ops.cli.main import run

_PROJECT = Path(__file__).resolve().parents[3]
_PAGE = (_PROJECT / "docs" / "documents.md").read_text("utf-8")
_README = (_PROJECT / "README.md").read_text("utf-8").partition("## Documents")[2]
_BLOCK = re.compile(r"```toml\n(\[documents\..*?)```", re.DOTALL)


def commands(text: str) -> list[str]:
    return re.findall(r"^\$ (batch-assets documents .*)$", text, re.MULTILINE)


@pytest.mark.parametrize("text", [_PAGE, _README], ids=["page", "readme"])
def test_block_and_commands_work_one_after_the_other(
    text: str, tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = _BLOCK.search(text)
    assert block is not None
    # The page says a file just dropped is waited for; here the wait is short.
    (tmp_path / "batch_assets.toml").write_text(f"{block[1]}settle_seconds = 0\n")
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "report.txt").write_text("The net income, 营业收入, has risen.")
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.chdir(tmp_path)
    assert run(["documents", "ingest"]) == 0

    statuses = {line: run(shlex.split(line)[1:]) for line in commands(text)}

    assert set(statuses.values()) == {0}, statuses
    assert len(statuses) >= 2
    assert (tmp_path / "errors.xlsx").is_file()


def test_page_lists_every_command() -> None:
    from batch_assets.ops.cli.documents import app

    for command in app.registered_commands:
        assert command.callback is not None
        assert f"`documents {command.callback.__name__}" in _PAGE
