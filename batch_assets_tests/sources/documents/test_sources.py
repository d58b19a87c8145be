"""Sources of documents as a person writes them."""

from datetime import date
from pathlib import Path

import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.settings import Settings, load_settings
from batch_assets.sources.documents.sources import (
    DeletedPolicy,
    DocumentSource,
    read_document_sources,
)


def settings_of(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "batch_assets.toml").write_text(text)
    return load_settings({}, working_dir=tmp_path)


def test_nothing_is_watched_before_it_is_configured(tmp_path: Path) -> None:
    assert read_document_sources(settings_of(tmp_path, "")) == {}
    assert read_document_sources(load_settings({})) == {}


def test_folders_start_at_the_configuration_and_urls_stay(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        "[documents.sources.inbox]\nurl = 'landing'\ndeleted = 'remove'\n"
        "[documents.sources.here]\nurl = 'file:///srv/x'\n"
        "[documents.sources.store]\nurl = 's3://bucket/in'\nlimits = { max_pages = 7 }\n",
    )

    sources = read_document_sources(settings)

    assert sources["inbox"].url == str(tmp_path / "landing")
    assert sources["inbox"].deleted is DeletedPolicy.REMOVE
    assert sources["here"].url == "/srv/x"
    assert sources["store"].url == "s3://bucket/in"
    assert sources["store"].limits.as_parse_limits().max_pages == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[documents]\nfolder = 'x'", "[documents] has folder"),
        ("[documents]\nsources = 3", "expected tables"),
        ("[documents.sources]\ninbox = 'x'", "documents.sources.inbox is 'x'"),
        ("[documents.sources.inbox]", "url: Field required"),
        ("[documents.sources.Inbox]\nurl = 'x'", "name"),
        ("[documents.sources.inbox]\nurl = 'x'\nspeed = 1", "speed"),
        ("[documents.sources.inbox]\nurl = 'x'\nday_pattern = '('", "no regular expression"),
        ("[documents.sources.inbox]\nurl = 'x'\nday_pattern = 'x'", "(?P<year>…)"),
        (
            "[documents.sources.inbox]\nurl = 'x'\nchunk_characters = 200\n"
            "overlap_characters = 150",
            "at most half",
        ),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_document_sources(settings_of(tmp_path, text))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "day"),
    [
        ("2024-09-30", date(2024, 9, 30)),
        ("2024/09/30/invoices", date(2024, 9, 30)),
        ("archive_20240930", date(2024, 9, 30)),
        ("2024-01-01/moved 2024.09.30", date(2024, 9, 30)),
        ("20249999/x", None),
        ("1202409301", None),
        (".", None),
    ],
)
def test_arrival_day_is_the_deepest_date_of_the_folder(folder: str, day: date | None) -> None:
    assert DocumentSource(name="inbox", url="x").day_of_folder(folder) == day
