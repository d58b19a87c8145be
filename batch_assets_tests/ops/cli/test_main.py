import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from batch_assets import __version__, errors
from batch_assets.ops import service
from batch_assets.ops.cli.main import run

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def settings_of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "batch_assets.toml").write_text("")
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.RejectLimitExceeded("x"), 3),
        (errors.LeaseHeld("x"), 5),
        (errors.SourceUnavailable("x"), 6),
        (errors.ConfigurationError("x"), 7),
        (errors.DatabaseUnavailable("x"), 7),
        (errors.EmbeddedServerError("x"), 7),
        (errors.MigrationError("x"), 1),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 1),
    ],
)
def test_exit_status_says_what_kind_of_failure_it_was(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr(service, "open_database_url", fail)

    assert run(["db", "status"]) == status


def test_failure_prints_causes_one_line_each_and_the_next_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> str:
        try:
            raise OSError("the cable\nis cut")
        except OSError as cause:
            raise errors.DatabaseUnavailable("no answer; plug it in") from cause

    monkeypatch.setattr(service, "open_database_url", fail)

    run(["db", "status"])

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [
        "error: no answer; plug it in",
        "  because: OSError: the cable is cut",
        "next: batch-assets doctor",
    ]


def test_traceback_is_shown_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> str:
        raise errors.MigrationError("edited")

    monkeypatch.setattr(service, "open_database_url", fail)

    run(["-v", "db", "migrate"])

    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nonsense"], ["db", "migrate", "--show-sql"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


def test_pending_migrations_are_a_no_until_they_are_applied(
    postgres_empty: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres_empty)

    assert run(["db", "status"]) == 1
    assert run(["db", "migrate"]) == 0
    capsys.readouterr()
    assert run(["db", "status", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["is_current"] is True
    assert {row["state"] for row in document["migrations"]} == {"applied"}


def test_dry_run_prints_the_statements_and_applies_nothing(
    postgres_empty: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres_empty)

    assert run(["db", "migrate", "--dry-run", "--show-sql"]) == 0

    assert "CREATE SCHEMA ops;" in capsys.readouterr().out
    assert run(["db", "status"]) == 1


def test_verify_names_what_differs(
    postgres: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    assert run(["db", "verify"]) == 0
    with psycopg.connect(postgres) as conn:
        conn.execute("ALTER TABLE ops.loads ADD COLUMN by_hand integer")
    capsys.readouterr()

    assert run(["db", "verify"]) == 1

    assert "by_hand" in capsys.readouterr().out


def test_doctor_ends_with_the_status_of_the_broken_layer(
    postgres_empty: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres_empty)

    assert run(["doctor"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["ok", "ok", "ok", "broken"]
    assert lines[4].strip() == "next: batch-assets db migrate"


def test_listing_the_commands_imports_no_library_that_a_command_needs() -> None:
    code = (
        "import sys; from batch_assets.ops.cli.main import run; run(['--help']); "
        "print(sorted({'dagster', 'psycopg', 'pyarrow', 'pandas', 'pydantic'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_a_database_that_was_never_migrated_is_named_with_the_command_that_helps(
    postgres_empty: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres_empty)

    assert run(["tokens", "list"]) == 1

    assert "batch-assets db migrate" in capsys.readouterr().err


def test_a_private_database_is_migrated_by_the_command_that_needs_it(
    postgres_empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it were this machine's own: no URL is configured, and that is what is there.
    monkeypatch.setattr(service, "database_url", lambda _: postgres_empty)

    assert run(["tokens", "list"]) == 0


def test_the_version_is_told_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0

    assert capsys.readouterr().out.strip() == __version__
