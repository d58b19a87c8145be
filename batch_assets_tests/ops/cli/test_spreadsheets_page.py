"""The loop of docs/spreadsheets.md works as written."""

import re
import shlex
from pathlib import Path

import openpyxl
import pytest

from batch_assets.ops.cli.main import run
from batch_assets.settings import current_settings, load_settings
from batch_assets.sources.spreadsheets.settings import SpreadsheetSettings
from batch_assets_tests.ingest.spreadsheets.loop import edit

_PAGE = (Path(__file__).parents[3] / "docs" / "spreadsheets.md").read_text("utf-8")
_LOOP = _PAGE.split("## The loop of corrections")[1].split("\n## ")[0]


@pytest.mark.long
def test_loop_of_the_page_closes(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [configuration] = re.findall(r"```toml\n(.*?)```", _LOOP, re.DOTALL)
    [console] = re.findall(r"```console\n(.*?)```", _LOOP, re.DOTALL)
    workers = "[execution]\ncpu_workers = 1\nspare_workers = 0\n"
    (tmp_path / "batch_assets.toml").write_text(workers + configuration)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    current_settings.cache_clear()
    book = openpyxl.Workbook()
    for row in (["Order no", "Amount"], [1, 5], [2, "x"], [3, "y"]):
        book.active.append(row)
    book.save("orders.xlsx")

    results = []
    for line in console.splitlines():
        command = shlex.split(line.removeprefix("$ batch-assets "), comments=True)
        if command[:2] == ["dead-letters", "replay"] and not Path("fixed.xlsx").exists():
            [errors] = (tmp_path / "home").rglob("*-errors-*.xlsx")
            edit(errors, (1, "Amount", 6), (2, "_action", "drop")).rename("fixed.xlsx")
        results.append(run(command))

    assert results == [0, 1, 0, 0, 0]


def test_every_setting_of_the_section_is_on_the_page(tmp_path: Path) -> None:
    for name in SpreadsheetSettings.model_fields:
        assert f"`{name}`" in _PAGE or name == "templates", name
    example = (Path(__file__).parents[3] / "batch_assets.toml").read_text("utf-8")
    section = example.split("# [spreadsheets]\n")[1].split("#\n")[0]
    lines = [line.removeprefix("# ") for line in section.splitlines()]
    (tmp_path / "batch_assets.toml").write_text("[spreadsheets]\n" + "\n".join(lines))
    written = load_settings({}, working_dir=tmp_path).section("spreadsheets")
    assert set(written) == set(SpreadsheetSettings.model_fields)
    defaults = SpreadsheetSettings()
    for name in ("settle_seconds", "watch_seconds", "cron"):
        assert written[name] == getattr(defaults, name)
