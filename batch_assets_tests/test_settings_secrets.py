import os
from pathlib import Path

import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.settings import child_environment, load_settings


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


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc\n")
    settings = load_settings({"MY_TOKEN_FILE": str(file)})

    secret = settings.secret("MY_TOKEN")

    assert secret is not None
    assert secret.get_secret_value() == "abc"


def test_a_secret_file_that_says_nothing_is_refused_and_not_taken_for_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()

    for environ, message in (
        ({"MY_TOKEN_FILE": str(tmp_path / "absent")}, "MY_TOKEN_FILE names .*cannot be read"),
        ({"MY_TOKEN_FILE": str(empty)}, "which is empty; expected the secret"),
        ({"MY_TOKEN_FILE": str(empty), "MY_TOKEN": "abc"}, "both set, expected one"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            load_settings(environ).secret("MY_TOKEN")


def test_the_password_file_completes_the_url_and_stays_out_of_the_environment(
    tmp_path: Path,
) -> None:
    file = tmp_path / "password"
    file.write_text("p@ss/w:rd %\n")
    environ = {
        "BATCH_ASSETS_DATABASE_URL": "postgresql://ann@one,two:5433/data?sslmode=require",
        "BATCH_ASSETS_DATABASE_PASSWORD_FILE": str(file),
    }

    settings = load_settings(environ)

    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == (
        "postgresql://ann:p%40ss%2Fw%3Ard%20%25@one,two:5433/data?sslmode=require"
    )
    child = child_environment(settings)
    assert {name: child[name] for name in environ} == environ
    assert not [value for value in child.values() if "p%40ss" in value or "p@ss" in value]
    assert load_settings(child).database.url == settings.database.url


@pytest.mark.parametrize("url", ["", "postgresql://host/data", "postgresql://ann:x@host/data"])
def test_a_password_without_a_place_in_the_url_is_refused(url: str) -> None:
    environ = {"BATCH_ASSETS_DATABASE_URL": url, "BATCH_ASSETS_DATABASE_PASSWORD": "secret"}

    with pytest.raises(ConfigurationError, match="names no user, or a password") as refused:
        load_settings(environ)

    assert "secret" not in str(refused.value)
