"""The status page in a real browser, with and without JavaScript, as wide as a desk and a phone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from batch_assets.postgres.connect import connect
from batch_assets_tests.ops.web.conftest import Site
from batch_assets_tests.ops.web.scene import Scene
from batch_assets_tests.ops.web.take_screenshots import (
    DESKTOP,
    PHONE,
    find_chromium,
    open_page,
    opened_browser,
    served,
    sign_in,
    take_all,
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        find_chromium() is None, reason="no Chromium is installed; `apt-get install chromium`"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as browser:
        yield browser


@pytest.fixture
def root(site: Site, plant: Callable[[], None]) -> Iterator[str]:
    plant()
    with served(site.app()) as root:
        yield root


def complaints_of(page: Page) -> list[str]:
    """What the browser objects to from now on: errors, refused content, dialogs."""
    seen: list[str] = []
    page.on("console", lambda message: seen.append(message.text) if message.type == "error" else 0)
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("dialog", lambda dialog: (seen.append(f"dialog {dialog.message}"), dialog.dismiss()))
    return seen


def test_everything_is_done_without_javascript(browser: Browser, root: str, site: Site) -> None:
    page = open_page(browser, root, PHONE, javascript=False)
    sign_in(page, site.token())
    page.click("text=Launch a range >> nth=0")
    page.fill("input[name=first]", "2024-10-08")
    page.fill("input[name=last]", "2024-10-10")
    page.click("button:text-is('Launch')")
    page.wait_for_selector("text=Backfill 5 is launched.")

    page.click("button:text-is('Pause')")
    page.wait_for_selector("text=no other begins")
    page.click("button:text-is('Resume')")
    page.wait_for_selector("text=Backfill 5 goes on.")
    page.click("summary:has-text('Cancel')")
    page.click("text=Yes, cancel it")
    page.wait_for_selector("text=Backfill 5 is being canceled.")
    page.goto("/backfills/2")
    page.click("text=Retry failed days")
    page.wait_for_selector("text=Failed days are loaded again as backfill 6.")
    refresh = page.content()
    page.click("text=Sign out")
    page.wait_for_selector("input[name=token]")
    page.context.close()

    assert 'http-equiv="refresh" content="10;url=/backfills/6"' in refresh
    assert site.rows(
        "SELECT action, subject FROM ops.audit WHERE actor = 'mei launch' ORDER BY audit_id"
    ) == [
        ("page.sign_in", "mei launch"),
        ("backfill.launch", "5"),
        ("backfill.pause", "5"),
        ("backfill.resume", "5"),
        ("backfill.cancel", "5"),
        ("backfill.retry", "6"),
    ]


def test_page_follows_along_and_leaves_alone_what_is_open(
    browser: Browser, root: str, site: Site
) -> None:
    page = open_page(browser, root, DESKTOP)
    complaints = complaints_of(page)
    sign_in(page, site.token())
    page.evaluate("window.isStillTheSamePage = true")
    page.click("article:has-text('us 2024') summary")
    with connect(site.url, application_name="test") as conn:
        run = "0003beef-2f5c-4c11-9d1e"
        Scene(conn).load("us", "2024-08-08", run_id=run, rows=11_000, minutes_ago=0.1)

    page.wait_for_selector("text=38 of 60 days")
    is_open = page.locator("article:has-text('us 2024') details").get_attribute("open") is not None
    is_same = page.evaluate("window.isStillTheSamePage")
    with connect(site.url, application_name="test") as conn:
        conn.execute("DELETE FROM ops.browser_sessions")
    page.wait_for_selector("input[name=token]")
    page.context.close()

    assert (is_open, is_same, complaints) == (True, True, [])


def test_planted_scripts_do_not_run(browser: Browser, root: str, site: Site) -> None:
    evil = "<img src=x onerror=\"alert('x')\"><script>alert('y')</script>"
    with connect(site.url, application_name="test") as conn:
        Scene(conn).load("cn", evil, "failed", error=(evil, evil), file=evil)
    page = open_page(browser, root, DESKTOP)
    complaints = complaints_of(page)
    sign_in(page, site.token())
    text = page.inner_text("main")
    page.context.close()

    assert text.count(evil) >= 3
    assert complaints == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("lang", ["en-US", "zh-CN"])
def test_nothing_is_wider_than_the_window(
    browser: Browser, root: str, site: Site, width: int, lang: str
) -> None:
    long = "a_name_that_nobody_would_choose_" * 4
    with connect(site.url, application_name="test") as conn:
        scene = Scene(conn)
        scene.load(long, long, "failed", target=long, error=(long, long), file=f"{long}.csv")
        scene.letters(long, long, 1, days_ago=1)
        scene.alert(long, f"target={long}", "warning", 2, 1, hours=1)
    page = open_page(browser, root, width, lang=lang)
    overflows = {}
    sign_in(page, site.token())
    for path in ("/", "/backfills/1", "/backfills/2", "/backfills/3", "/launch", "/signin"):
        page.goto(path)
        overflows[path] = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
    page.context.close()

    assert overflows == dict.fromkeys(overflows, 0)


def test_pictures_are_taken_of_every_page(
    browser: Browser, root: str, site: Site, tmp_path: Path
) -> None:
    pictures = take_all(browser, root, site.token(), tmp_path / "screenshots")

    assert len(pictures) == 11
    assert all(picture.stat().st_size > 5_000 for picture in pictures)
