"""`[devices]`: what it may hold, and what is said about what it may not."""

from pathlib import Path

import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.settings import Settings, load_settings
from batch_assets.sources.devices.settings import landing_folder, read_device_settings


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "batch_assets.toml").write_text(text)
    return load_settings({}, working_dir=folder)


def test_section_that_is_absent_has_the_defaults_of_the_old_clients(tmp_path: Path) -> None:
    section = read_device_settings(settings_of(tmp_path, ""))

    assert (section.batch_rows_min, section.batch_rows_max, section.batch_seconds) == (50, 250, 2)
    assert 2 <= section.shards <= 8
    assert landing_folder(settings_of(tmp_path, "")) is None


def test_landing_folder_starts_at_the_configuration(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "[devices]\nlanding = 'landing/devices'\n")

    assert landing_folder(settings) == tmp_path / "landing" / "devices"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("batch_rows_min = 300", "batch_rows_min is above batch_rows_max"),
        ("formats = ['xlsx']", "formats.0: Input should be 'ndjson', 'jsonl', 'csv' or 'parquet'"),
        ("zone = 'Mars/Olympus'", "zone: Value error, is no time zone"),
        ("shard = 4", "shard: Extra inputs are not permitted"),
    ],
)
def test_wrong_value_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match="devices") as refused:
        read_device_settings(settings_of(tmp_path, f"[devices]\n{line}\n"))

    assert said in str(refused.value)
