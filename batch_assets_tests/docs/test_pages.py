"""What the pages point at is there, and what they show of a configuration is accepted."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from batch_assets.monitoring.retention_settings import read_retention_settings
from batch_assets.monitoring.settings import read_alert_settings
from batch_assets.ops.api.settings import read_api_settings
from batch_assets.ops.display import read_display
from batch_assets.settings import Settings, load_settings
from batch_assets.sources.devices.alert_rules import (
    read_alert_settings as read_device_alert_settings,
)
from batch_assets.sources.devices.settings import read_device_settings
from batch_assets.sources.documents.embedding import read_embedding_settings
from batch_assets.sources.documents.sources import read_document_sources
from batch_assets.sources.market.feed import build_feeds
from batch_assets.sources.spreadsheets.settings import read_templates
from batch_assets.sources.tables.transfer import build_transfers
from batch_assets_tests.docs.pages import PROJECT, list_blocks, list_pages, prose_of

PAGES = [*list_pages(), PROJECT / "CHANGELOG.md"]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# A file of the project in code style, and the chapter of a page that is named after it.
_FILE = re.compile(
    r"`((?:docs|deploy|sql|batch_assets|batch_assets_tests|benchmarks|examples|\.ci|\.github)"
    r"/[\w./-]*(?:/|\.\w+|/run))`"
)
_CHAPTER = re.compile(r"docs/([\w-]+\.md)`?(?:\]\([^)]*\))?, \*([^*]+)\*")
# Files that a page tells the reader to write.
_TO_BE_WRITTEN = {"batch_assets/sources/documents/ini.py"}
_VENDOR_TO_BE_WRITTEN = 'vendor = "example"'
_SECTIONS = {
    *("database", "loading", "execution", "dagster", "display", "market", "documents"),
    *("spreadsheets", "tables", "devices", "alerts", "retention", "api"),
}


def anchors_of(page: Path) -> set[str]:
    """Fragments that a renderer gives to the headings of a page."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose_of(page)):
        plain = re.sub(r"[`*\[\]]|\([^)]*\.md[^)]*\)", "", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def broken_links(text: str, folder: Path) -> list[str]:
    """Links of a page in this folder that lead nowhere in the project."""
    broken = []
    for link in _LINK.findall(text):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve()
        if not (target.is_relative_to(PROJECT) and target.exists()) or (
            anchor and anchor not in anchors_of(target)
        ):
            broken.append(link)
    return broken


def test_every_link_leads_to_a_page_and_a_chapter_that_are_there() -> None:
    for page in PAGES:
        # A link within the page begins with its fragment.
        text = prose_of(page).replace("](#", f"]({page.name}#")
        assert broken_links(text, page.parent) == [], page


def test_a_link_that_leads_nowhere_is_noticed() -> None:
    text = "[a](upgrade.md) [b](upgrade.md#dagster) [c](upgrade.md#no) [d](no.md) [e](/etc/hosts)"

    assert broken_links(text, PROJECT / "docs") == ["upgrade.md#no", "no.md", "/etc/hosts"]


def test_every_file_that_is_named_exists() -> None:
    missing = [
        f"{page.relative_to(PROJECT)}: {name}"
        for page in PAGES
        for name in _FILE.findall(prose_of(page))
        if name not in _TO_BE_WRITTEN and not (PROJECT / name).exists()
    ]

    assert missing == []


def test_every_chapter_that_is_named_exists() -> None:
    named = [
        (page.name, other, chapter)
        for page in PAGES
        for other, chapter in _CHAPTER.findall(" ".join(prose_of(page).split()))
    ]

    assert named
    for page, other, chapter in named:
        headings = _HEADING.findall(prose_of(PROJECT / "docs" / other))
        assert any(chapter in heading for heading in headings), (page, other, chapter)


def test_every_page_is_in_the_index() -> None:
    index = (PROJECT / "docs" / "README.md").read_text("utf-8")

    for page in (PROJECT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name}" in index, page.name


def test_blocks_of_data_can_be_read() -> None:
    for page in PAGES:
        for block in list_blocks(page, "json"):
            json.loads(block)
        for block in list_blocks(page, "ya?ml"):
            yaml.safe_load(block)
        for block in list_blocks(page, "toml"):
            tomllib.loads(block)


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, block in enumerate(list_blocks(page, "toml"), 1)
        if _VENDOR_TO_BE_WRITTEN not in block
    ],
)
def test_every_block_of_configuration_is_accepted(page: Path, block: str, tmp_path: Path) -> None:
    (tmp_path / "batch_assets.toml").write_text(block)

    settings = load_settings({}, working_dir=tmp_path)

    assert set(tomllib.loads(block)) <= _SECTIONS
    read_every_section(settings)


def read_every_section(settings: Settings) -> None:
    """As the parts of the program do that the sections belong to."""
    market = dict(settings.section("market"))
    if "feeds" in market:
        # A page shows one feed; the file that it goes into has chosen its default already.
        market.setdefault("default_feed", next(iter(market["feeds"])))
        build_feeds(market, settings.config_dir)
    read_document_sources(settings)
    read_embedding_settings(settings)
    read_templates(settings)
    build_transfers(settings.section("tables"))
    read_device_settings(settings)
    read_device_alert_settings(dict(settings.section("devices").get("alerts", {})))
    read_alert_settings(settings)
    read_retention_settings(settings)
    read_api_settings(settings)
    read_display(settings)
