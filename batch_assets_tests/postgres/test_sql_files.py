"""SQL texts that live in files."""

from pathlib import Path

import pytest

from batch_assets.errors import ConfigurationError, MigrationError
from batch_assets.postgres.sql_files import migration_files, owned_schemas, read_query


def _write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("SELECT 1;\n")
    return folder


def test_shipped_migrations_are_numbered_from_one() -> None:
    assert [migration.version for migration in migration_files()] == list(
        range(1, len(migration_files()) + 1)
    )
    assert owned_schemas(migration_files()) == ("devices", "documents", "market", "ops", "staging")


def test_missing_number_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "0001_create_one.sql", "0003_create_three.sql")

    with pytest.raises(MigrationError, match="expected number 0002"):
        migration_files(tmp_path)


def test_number_used_twice_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "0001_create_one.sql", "0001_create_other.sql")

    with pytest.raises(MigrationError, match="without gaps or doubles"):
        migration_files(tmp_path)


@pytest.mark.parametrize("name", ["1_create_one.sql", "0001_create.sql", "0001-Create-One.sql"])
def test_name_without_verb_and_object_is_refused(tmp_path: Path, name: str) -> None:
    _write(tmp_path, name)

    with pytest.raises(MigrationError, match=r"expected NNNN_verb_object\.sql"):
        migration_files(tmp_path)


def test_folder_without_migrations_is_an_incomplete_installation(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no migrations were found"):
        migration_files(tmp_path)


def test_line_ends_of_the_checkout_do_not_change_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "0001_create_one.sql"
    path.write_bytes(b"SELECT 1;\nSELECT 2;\n")
    (unix,) = migration_files(tmp_path)
    path.write_bytes(b"SELECT 1;\r\nSELECT 2;\r\n")
    (windows,) = migration_files(tmp_path)

    assert windows.checksum == unix.checksum


def test_only_the_first_line_makes_a_migration_run_without_transaction(tmp_path: Path) -> None:
    (tmp_path / "0001_add_index.sql").write_text("-- migrate: no-transaction\nSELECT 1;\n")
    (tmp_path / "0002_add_table.sql").write_text("SELECT 1;\n-- migrate: no-transaction\n")

    first, second = migration_files(tmp_path)

    assert not first.is_transactional
    assert second.is_transactional


def test_query_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no_such_query\.sql"):
        read_query("no_such_query")
