"""One PostgreSQL server process: find it, start it, know when it is ready, stop it.

Works on processes and PostgreSQL's own files. Who may use the server and when it has to go is
decided by embedded_keeper.py.
"""

import signal
import subprocess
import time
from pathlib import Path

import psutil

from batch_assets.errors import EmbeddedServerError
from batch_assets.postgres.embedded_files import PORT, ServerPlan
from batch_assets.postgres.embedded_install import SERVER_ENVIRONMENT

# A fast shutdown writes a checkpoint: up to shared_buffers of dirty pages on a slow disk.
_FAST_SHUTDOWN_SECONDS = 60.0
_IMMEDIATE_SHUTDOWN_SECONDS = 10.0
_ORPHANS_SECONDS = 30.0
_POLL_SECONDS = 0.02


def find_postmaster(data_dir: Path) -> psutil.Process | None:
    """The server that runs on a data directory now, whoever started it.

    PostgreSQL trusts the process number in postmaster.pid; after a restart of the machine that
    number may be anybody's. A server works inside its data directory, so that is compared too.
    """
    lines = _pid_file_lines(data_dir)
    try:
        process = psutil.Process(int(lines[0]))
    except (IndexError, ValueError, psutil.NoSuchProcess):
        return None
    return process if is_alive(process) and _works_in(process, data_dir) else None


def start_postmaster(plan: ServerPlan, log_file: Path) -> psutil.Process:
    """Start the server as a child of this process; it is not ready yet.

    Cleans up after a crash first; the caller has made sure that no server runs.
    """
    pid_file = Path(plan.data_dir) / "postmaster.pid"
    if pid_file.exists():
        _end_orphans(Path(plan.data_dir))
    # PostgreSQL would remove these itself, unless the number in them is still or again that of
    # some process: another program's, or the dead server's where nobody waits for it (in
    # containers without an init process).
    pid_file.unlink(missing_ok=True)
    plan.socket.with_name(f"{plan.socket.name}.lock").unlink(missing_ok=True)
    with log_file.open("ab") as log:
        return psutil.Popen(
            [
                str(Path(plan.install_dir) / "bin" / "postgres"),
                "-D",
                plan.data_dir,
                f"--unix_socket_directories={plan.socket_dir}",
                "--listen_addresses=",
                f"--port={PORT}",
            ],
            user=plan.uid,
            group=plan.gid,
            extra_groups=None if plan.uid is None else [],
            cwd="/",
            env=SERVER_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C in a terminal is for our programs, not for the server.
            start_new_session=True,
        )


def is_ready(process: psutil.Process, data_dir: Path) -> bool:
    """Whether this very server accepts connections, by its own account."""
    lines = _pid_file_lines(data_dir)
    return len(lines) >= 8 and int(lines[0]) == process.pid and lines[7].strip() == "ready"


def is_alive(process: psutil.Process) -> bool:
    """Whether the process still runs; a child that ended but was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop_postmaster(process: psutil.Process) -> None:
    """End all sessions and stop the server; returns when it has gone.

    Raises:
        EmbeddedServerError: It survives a fast and an immediate shutdown.
    """
    for request, seconds in (
        (signal.SIGINT, _FAST_SHUTDOWN_SECONDS),
        (signal.SIGQUIT, _IMMEDIATE_SHUTDOWN_SECONDS),
    ):
        deadline = time.monotonic() + seconds
        try:
            process.send_signal(request)
        except psutil.NoSuchProcess:
            return
        while is_alive(process):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise EmbeddedServerError(
        f"PostgreSQL (process {process.pid}) still runs after an immediate shutdown, expected it "
        "to end; its disk may be stuck. End the process, the next start recovers"
    )


def _end_orphans(data_dir: Path) -> None:
    """End backends that outlived their killed server; a new one refuses to start beside them."""
    orphans = [process for process in psutil.process_iter() if _works_in(process, data_dir)]
    for process in orphans:
        try:
            process.send_signal(signal.SIGQUIT)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(orphans, timeout=_ORPHANS_SECONDS)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).samefile(folder)
    except (psutil.Error, OSError):
        return False  # it ended, is another user's, or its folder was removed


def _pid_file_lines(data_dir: Path) -> list[str]:
    try:
        return (data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
