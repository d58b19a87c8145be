from pathlib import Path

import pytest
from filelock import FileLock

from batch_assets.errors import ConfigurationError
from batch_assets.ops.demo.project import (
    DemoProject,
    cd_command,
    command_in,
    project_of,
    remove_project,
    write_project,
)
from batch_assets.settings import load_settings
from batch_assets.sources.market.feed import build_feeds

FILES = {"2012-10-22.csv": b"one", "2013-01-10.csv.gz": b"two"}
VARIABLES = ("BATCH_ASSETS_CONFIG", "BATCH_ASSETS_HOME", "BATCH_ASSETS_DATABASE_URL")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoProject:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return DemoProject(tmp_path / "state" / "demo")


def test_folder_lies_in_the_state_folder_of_the_settings(tmp_path: Path) -> None:
    settings = load_settings({"BATCH_ASSETS_HOME": str(tmp_path)}, working_dir=tmp_path)

    assert project_of(settings).folder == tmp_path / "demo"


def test_written_configuration_is_in_force_inside_the_folder(project: DemoProject) -> None:
    write_project(project, FILES)

    inside = load_settings({}, working_dir=project.feed_dir)
    feeds = build_feeds(inside.section("market"), inside.config_dir)
    assert inside.model_dump() == project.settings().model_dump()
    assert [feed.folder for feed in feeds.values()] == [project.feed_dir]


def test_configured_database_is_not_used(
    project: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", "postgresql://elsewhere/production")
    write_project(project, FILES)

    settings = project.settings()

    assert settings.database.url is None
    assert settings.state_dir == project.folder / ".batch_assets"


def test_second_writing_keeps_what_a_person_changed(project: DemoProject) -> None:
    write_project(project, FILES)
    (project.feed_dir / "2012-10-22.csv").write_bytes(b"corrected")
    (project.feed_dir / "2013-01-10.csv.gz").unlink()
    (project.feed_dir / "2013-01-10.csv").write_bytes(b"repaired")

    write_project(project, FILES)

    assert {path.name: path.read_bytes() for path in project.feed_dir.iterdir()} == {
        "2012-10-22.csv": b"corrected",
        "2013-01-10.csv": b"repaired",
    }


def test_file_left_unfinished_by_a_kill_is_written_again(project: DemoProject) -> None:
    write_project(project, FILES)
    (project.feed_dir / "2012-10-22.csv").rename(project.feed_dir / ".2012-10-22.csv.4711")

    write_project(project, FILES)

    assert (project.feed_dir / "2012-10-22.csv").read_bytes() == b"one"


def test_folder_of_somebody_else_is_neither_written_nor_removed(project: DemoProject) -> None:
    project.folder.mkdir(parents=True)
    precious = project.folder / "batch_assets.toml"
    precious.write_text("# mine\n")

    for action in (lambda: write_project(project, FILES), lambda: remove_project(project)):
        with pytest.raises(ConfigurationError, match="holds no configuration written by"):
            action()

    assert [path.name for path in project.folder.iterdir()] == ["batch_assets.toml"]


def test_folder_that_cannot_be_made_is_named_with_the_variable_that_moves_it(
    project: DemoProject,
) -> None:
    project.folder.parent.parent.joinpath("state").write_text("a file where a folder must be")

    with pytest.raises(ConfigurationError, match=r"cannot be written: .*; set BATCH_ASSETS_HOME"):
        write_project(project, FILES)


def test_removal_takes_the_folder_and_nothing_beside_it(project: DemoProject) -> None:
    write_project(project, FILES)
    neighbour = project.folder.parent / "postgres"
    neighbour.mkdir()
    (project.folder / "link").symlink_to(neighbour)

    assert remove_project(project)

    assert [path.name for path in project.folder.parent.iterdir()] == ["postgres"]
    assert not remove_project(project)


def test_removal_is_refused_while_a_stack_runs_on_it(project: DemoProject) -> None:
    write_project(project, FILES)
    project.state_dir.mkdir()

    with (
        FileLock(project.state_dir / "up.lock"),
        pytest.raises(ConfigurationError, match="is running, expected it to be stopped"),
    ):
        remove_project(project)

    assert project.is_ours()


def test_commands_do_without_variables_that_point_elsewhere(
    project: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(project, FILES)

    assert command_in(project, "batch-assets up") == "batch-assets up"

    monkeypatch.setenv("BATCH_ASSETS_HOME", "/elsewhere")
    assert command_in(project, "batch-assets up") == (
        "env -u BATCH_ASSETS_CONFIG -u BATCH_ASSETS_HOME -u BATCH_ASSETS_DATABASE_URL "
        "batch-assets up"
    )


def test_path_with_spaces_is_quoted() -> None:
    assert cd_command(DemoProject(Path("/a b/demo"))) == "cd '/a b/demo'"
