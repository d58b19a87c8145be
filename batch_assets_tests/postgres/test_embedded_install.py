"""PostgreSQL's programs for the service user, when root alone can read the wheel."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_assets.postgres import embedded_install
from batch_assets.postgres.embedded_owner import Owner, server_owner


@pytest.fixture
def root_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root runs the server as another user")
    folder = Path(tempfile.mkdtemp(prefix="batch_assets-test-"))
    folder.chmod(0o711)
    monkeypatch.setattr(embedded_install, "ROOT_HOME", folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def private_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel's programs below a folder that only root may enter, such as its home."""
    private = tmp_path / "root only"
    private.mkdir(mode=0o700)
    wheel = embedded_install.find_install(Owner())
    install_dir = private / wheel.parent.name / wheel.name
    shutil.copytree(wheel, install_dir, symlinks=True)
    libraries = wheel.parents[1] / f"{wheel.parent.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, private / libraries.name, symlinks=True)
    monkeypatch.setattr(embedded_install, "_wheel_install", lambda: install_dir)
    return install_dir


def test_programs_out_of_reach_are_copied_once(root_home: Path, private_wheel: Path) -> None:
    owner = server_owner()

    first = embedded_install.find_install(owner)
    copied_at = first.stat().st_ctime_ns
    second = embedded_install.find_install(owner)

    assert first.is_relative_to(root_home)
    assert (second, second.stat().st_ctime_ns) == (first, copied_at)
    for program in ("postgres", "initdb", "psql"):
        version = subprocess.check_output(
            [first / "bin" / program, "--version"], user=owner.uid, group=owner.gid, text=True
        )
        assert "PostgreSQL) 18." in version


def test_folders_of_others_keep_their_permissions(root_home: Path, private_wheel: Path) -> None:
    embedded_install.find_install(server_owner())

    assert stat.S_IMODE(private_wheel.parents[1].stat().st_mode) == 0o700


def test_copy_that_was_killed_is_made_again(root_home: Path, private_wheel: Path) -> None:
    programs = embedded_install.find_install(server_owner())
    copy = programs.parents[1]
    draft = copy.rename(copy.with_name(f".{copy.name}"))
    (draft / programs.relative_to(copy) / "bin" / "postgres").unlink()

    assert embedded_install.find_install(server_owner()) == programs
    assert not draft.exists()
