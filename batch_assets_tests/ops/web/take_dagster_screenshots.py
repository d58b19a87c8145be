"""`python -m batch_assets_tests.ops.web.take_dagster_screenshots [FOLDER]`: Dagster's own pages.

It makes a project as `batch-assets init` does, starts all that `batch-assets up` starts, launches a
backfill of the example files by hand in the browser, waits for its end, and keeps a picture of each
step. A picture shows what ran, nothing is planted.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from batch_assets.ops.own_project import write_own_project
from batch_assets.ops.up import running_stack
from batch_assets.postgres import embedded
from batch_assets.runs.graphql import post_query
from batch_assets.runs.watch import watch_backfill
from batch_assets.settings import load_settings
from batch_assets_tests.ops.web.take_screenshots import opened_browser

ASSET = "/assets/market/examples/daily_bars"
FIRST, LAST, DAY = "2024-09-25", "2024-10-09", "2024-09-30"
WIDTH, HEIGHT = 1280, 860
# Everything starts from nothing, perhaps on a busy machine.
PATIENCE_SECONDS = 180


def launch_by_hand(page: Page, folder: Path) -> str:
    """Asset page, Materialize…, the range, Launch backfill; returns Dagster's id of it."""
    page.goto(f"{ASSET}?view=partitions")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    # The dialog begins with the last 90 days; the examples are older.
    dialog.get_by_text("Show all partitions").click()
    typed = dialog.locator("input[type=text]").first
    typed.fill(f"[{FIRST}...{LAST}]")
    typed.press("Enter")
    expect(dialog.get_by_text("15 partitions").first).to_be_visible()
    page.screenshot(path=folder / "dagster-launch.png")
    with page.expect_response(
        lambda reply: "launchPartitionBackfill" in (reply.request.post_data or "")
    ) as launched:
        dialog.get_by_role("button", name="Launch backfill").click()
    answer = launched.value.json()["data"]["launchPartitionBackfill"]
    return str(answer["backfillId"])


def shoot_results(page: Page, backfill_id: str, run_id: str, folder: Path) -> None:
    """The backfill, its run, a partition with its ledger, and the checks."""
    page.goto(f"/runs/b/{backfill_id}")
    expect(page.get_by_text("100% completed").first).to_be_visible()
    _shoot(page, folder / "dagster-backfill.png", height=292)
    page.goto(f"/runs/{run_id}")
    expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible()
    _shoot(page, folder / "dagster-run.png")
    page.goto(f"{ASSET}?view=partitions&partition={DAY}")
    expect(page.get_by_text("rows_inserted").first).to_be_visible()
    _shoot(page, folder / "dagster-partition.png")
    page.goto(f"{ASSET}?view=checks&checkDetail=ledger_balances")
    expect(page.get_by_text("Latest execution").first).to_be_visible()
    _shoot(page, folder / "dagster-checks.png", height=734)


def _shoot(page: Page, path: Path, *, height: int = HEIGHT) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "loads"
        write_own_project(project)
        settings = load_settings({}, working_dir=project)
        try:
            with running_stack(settings) as stack, opened_browser() as browser:
                context = browser.new_context(
                    viewport={"width": WIDTH, "height": HEIGHT},
                    base_url=stack.webserver_url,
                    reduced_motion="reduce",
                )
                context.set_default_timeout(PATIENCE_SECONDS * 1000)
                expect.set_options(timeout=PATIENCE_SECONDS * 1000)
                page = context.new_page()
                backfill_id = launch_by_hand(page, folder)
                for _ in watch_backfill(stack.webserver_url, backfill_id, deadline_seconds=600):
                    pass
                found = post_query(
                    stack.webserver_url, "{ runsOrError { ... on Runs { results { runId } } } }"
                )
                (run,) = found["runsOrError"]["results"]
                shoot_results(page, backfill_id, run["runId"], folder)
        finally:
            embedded.remove_server(settings.state_dir)

    shots = sorted(folder.glob("dagster-*.png"))
    # A quarter of the size, and the same to the eye.
    if pngquant := shutil.which("pngquant"):
        subprocess.run([pngquant, "--force", "--ext", ".png", "64", *shots], check=True)
    sys.stdout.write("".join(f"{path}\n" for path in shots))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screenshots"))
