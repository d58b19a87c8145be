"""`python -m batch_assets_tests.ops.web.take_screenshots [FOLDER]`: pictures of the status page.

The test of the page in a browser takes them too; this writes those of docs/screenshots.
"""

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from batch_assets.ops.access import create_token
from batch_assets.ops.api.app import build_app
from batch_assets.ops.scope import Scope
from batch_assets.postgres import embedded
from batch_assets.postgres.connect import connect
from batch_assets.postgres.migrate import apply_pending
from batch_assets.settings import load_settings
from batch_assets_tests.ops.web.scene import CONFIGURATION, NOW, plant_busy_morning
from batch_assets_tests.polling import wait_until

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
DESKTOP, PHONE = 1280, 390


def find_chromium() -> str | None:
    return next((path for path in CHROMIUM if Path(path).exists()), None)


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of an application on loopback."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the service to listen")
        [listening] = server.servers[0].sockets
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def opened_browser() -> Iterator[Browser]:
    chromium = find_chromium()
    assert chromium is not None, "no Chromium is installed; `apt-get install chromium`"
    with sync_playwright() as playwright:
        # Root may not use Chromium's sandbox; the pages are ours.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def open_page(
    browser: Browser,
    root: str,
    width: int,
    *,
    scheme: str = "light",
    lang: str = "en-US",
    javascript: bool = True,
) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": 844 if width == PHONE else 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        locale=lang,
        java_script_enabled=javascript,
        reduced_motion="reduce",
        base_url=root,
    )
    context.set_default_timeout(20_000)
    return context.new_page()


def sign_in(page: Page, token: str) -> None:
    page.goto("/")
    page.fill("input[name=token]", token)
    page.click("main button")
    page.wait_for_selector(".verdict")


def take_all(browser: Browser, root: str, token: str, folder: Path) -> list[Path]:
    """Pictures of the pages at two widths, light and dark, in both languages."""
    folder.mkdir(parents=True, exist_ok=True)
    shots = []

    def shoot(page: Page, name: str) -> None:
        path = folder / f"{name}.png"
        page.screenshot(path=path, full_page=True)
        shots.append(path)

    for width, device in ((DESKTOP, "desktop"), (PHONE, "phone")):
        for scheme in ("light", "dark"):
            page = open_page(browser, root, width, scheme=scheme)
            if scheme == "light":
                page.goto("/signin")
                shoot(page, f"signin-{device}")
            sign_in(page, token)
            shoot(page, f"status-{device}-{scheme}")
            if scheme == "light":
                page.goto("/backfills/2")
                shoot(page, f"backfill-{device}")
                page.goto("/launch?feed=us")
                shoot(page, f"launch-{device}")
            page.context.close()
    page = open_page(browser, root, DESKTOP, lang="zh-CN")
    sign_in(page, token)
    shoot(page, "status-desktop-zh")
    page.context.close()
    return shots


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch)
        url = embedded.ensure_server(state).url("postgres")
        try:
            apply_pending(url)
            (state / "batch_assets.toml").write_text(CONFIGURATION, encoding="utf-8")
            settings = load_settings({"BATCH_ASSETS_DATABASE_URL": url}, working_dir=state)
            plant_busy_morning(url)
            with connect(url, application_name="screenshots") as conn:
                token = create_token(conn, "mei", Scope.LAUNCH)
            app = build_app(settings, url, now=lambda: NOW)
            with served(app) as root, opened_browser() as browser:
                shots = take_all(browser, root, token, folder)
        finally:
            embedded.remove_server(state)

    # A quarter of the size, and the same to the eye.
    if pngquant := shutil.which("pngquant"):
        subprocess.run([pngquant, "--force", "--ext", ".png", "64", *shots], check=True)
    sys.stdout.write("".join(f"{path}\n" for path in shots))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screenshots"))
