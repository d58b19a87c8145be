"""docs/reference says what the commands and settings are."""

import pytest

from batch_assets_tests.docs.write_reference import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_what_the_program_says(name: str) -> None:
    stored = (FOLDER / name).read_text(encoding="utf-8")

    assert stored == PAGES[name](), "python -m batch_assets_tests.docs.write_reference"
