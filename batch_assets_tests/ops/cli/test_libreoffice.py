"""Workbooks that LibreOffice has written and saved again go round the loop as those of Excel do."""

import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from batch_assets.ops.cli.main import run
from batch_assets.settings import current_settings
from batch_assets_tests.ingest.spreadsheets.loop import edit
from batch_assets_tests.ops.cli.test_dead_letters import SECTION, letters

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed"),
]


def save_again(file: Path, ending: str, profile: Path) -> Path:
    """Open a file in LibreOffice without a window, and save it in another folder."""
    folder = file.parent / f"as-{ending}"
    subprocess.run(
        [
            "soffice", f"-env:UserInstallation={profile.as_uri()}", "--headless", "--norestore",
            "--convert-to", ending, "--outdir", str(folder), str(file),
        ],
        check=True, capture_output=True, timeout=180,
    )  # fmt: skip
    return folder / f"{file.stem}.{ending}"


@pytest.mark.parametrize("ending", ["xlsx", "ods"])
def test_loop_with_workbooks_saved_by_libreoffice(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    (tmp_path / "batch_assets.toml").write_text(SECTION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    current_settings.cache_clear()
    rows = "Order no,Note,Amount\n1,a,5\n2,b,x\n3,007,y\n4,d,z\n"
    (tmp_path / "orders.csv").write_text(rows)
    orders = save_again(tmp_path / "orders.csv", "xlsx", tmp_path / "profile")

    assert run(["spreadsheets", "load", str(orders), "--day", "2024-09-30"]) == 0
    [errors] = (tmp_path / "home" / "spreadsheets" / "errors").rglob("*.xlsx")
    fixed = edit(errors, (1, "Amount", 6.5), (2, "Amount", "1,007.25"), (3, "_action", "drop"))
    saved = save_again(save_again(fixed, "ods", tmp_path / "profile"), ending, tmp_path / "profile")

    assert run(["dead-letters", "replay", str(saved)]) == 0
    with psycopg.connect(postgres) as conn:
        found = conn.execute("SELECT order_no, amount::text FROM sales.orders ORDER BY 1")
        assert found.fetchall() == [(1, "5.00"), (2, "6.50"), (3, "1007.25")]
    assert [state for _, state, _, _ in letters(postgres)] == ["replayed", "replayed", "discarded"]
