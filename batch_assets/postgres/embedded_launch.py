"""Start a keeper: prepare the folders, programs and data it needs, then let it go its own way.

The caller holds the server's main lock. What the keeper does is in embedded_keeper.py.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from batch_assets.errors import EmbeddedServerError
from batch_assets.postgres.embedded_files import (
    ROOT_HOME,
    ServerFiles,
    ServerPlan,
    last_lines,
    read_plan,
    server_home,
    write_note,
)
from batch_assets.postgres.embedded_install import find_install, initialise_data
from batch_assets.postgres.embedded_locks import locked
from batch_assets.postgres.embedded_owner import (
    Owner,
    is_root,
    make_folder,
    server_owner,
    socket_folder,
)

_INSTALL_SECONDS = 120.0
_KEEPER_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from batch_assets.postgres.embedded_keeper import main; main(sys.argv[2])"
)


def launch_keeper(files: ServerFiles, linger_seconds: float) -> None:
    """Prepare a server and start its keeper; the server is not ready yet.

    Raises:
        ConfigurationError: There is no embedded PostgreSQL on this machine.
        EmbeddedServerError: A folder, the data or the keeper could not be made.
    """
    owner, install_dir = _find_programs()
    home = server_home(files)
    if home != files.control:
        make_folder(home, 0o711)
        # For the person who finds the folder and wonders whose it is.
        write_note(home / "owner.json", {"state_dir": str(files.control.parent)})
    data_dir = home / "data"
    initialise_data(files, data_dir, install_dir, owner)
    previous = read_plan(files)
    plan = ServerPlan(
        install_dir=str(install_dir),
        data_dir=str(data_dir),
        socket_dir=str(socket_folder(home, previous.socket_dir if previous else None, owner)),
        uid=owner.uid,
        gid=owner.gid,
        linger_seconds=linger_seconds,
    )
    write_note(files.plan, asdict(plan))
    run_keeper(files)


def _find_programs() -> tuple[Owner, Path]:
    if not is_root():
        return Owner(), find_install(Owner())
    make_folder(ROOT_HOME, 0o711)
    # Servers of other state directories share the user and the copy of the programs.
    with locked(ROOT_HOME / "lock", wait_seconds=_INSTALL_SECONDS):
        owner = server_owner()
        return owner, find_install(owner)


def run_keeper(files: ServerFiles) -> None:
    """Start a keeper with the plan that is there; returns when it is at work.

    Raises:
        EmbeddedServerError: It ended at once; the message holds what it said.
    """
    files.status.unlink(missing_ok=True)
    paths = [str(Path(entry).absolute()) for entry in sys.path]
    with files.keeper_log.open("ab") as log:
        # Isolated and in the root folder: the keeper must not depend on the environment or the
        # working directory of whoever happened to be first.
        result = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-I", "-c", _KEEPER_PROGRAM, json.dumps(paths), str(files.control)],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=False,
        )
    if result.returncode != 0:
        raise EmbeddedServerError(
            f"the keeper of the embedded PostgreSQL ended with status {result.returncode}, "
            f"expected it to stay; {files.keeper_log} ends with: {last_lines(files.keeper_log)}"
        )
