import os

import pytest

from batch_assets.settings import load_settings


def test_a_secret_is_read_when_it_is_asked_for() -> None:
    environ: dict[str, str] = {}
    settings = load_settings(environ)

    assert settings.secret("MY_TOKEN") is None
    environ["MY_TOKEN"] = " abc \n"
    secret = settings.secret("MY_TOKEN")

    assert secret is not None
    assert secret.get_secret_value() == "abc"
    assert "abc" not in repr(settings)
    assert "abc" not in repr(secret)


def test_an_empty_secret_is_none() -> None:
    assert load_settings({"MY_TOKEN": ""}).secret("MY_TOKEN") is None


def test_the_environment_of_the_process_is_asked_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load_settings()
    monkeypatch.setitem(os.environ, "BATCH_ASSETS_TEST_TOKEN", "abc")

    assert settings.secret("BATCH_ASSETS_TEST_TOKEN") is not None
    assert settings.model_copy().secret("BATCH_ASSETS_TEST_TOKEN") is not None
