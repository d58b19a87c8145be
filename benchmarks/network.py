"""Hosts on one machine: a network, a host name and process ids of their own for each.

One namespace holds PostgreSQL and the switch, one each host that works. A host shares with the
others what real ones would: files on a volume, and the database over TCP. Its cable can be pulled.

Linux alone, as root, with iproute2 and util-linux.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from batch_assets.postgres import migrate
from batch_assets.postgres.embedded_install import SERVER_ENVIRONMENT, find_install
from batch_assets.postgres.embedded_owner import is_root, server_owner

_SERVER_ADDRESS = "10.77.0.1"
_PROGRAMS = ("ip", "unshare", "setpriv")
# Kills the processes of a host with the command that started them; gives them /proc and a name.
_OWN_SPACES = ("unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")


class NotPermitted(RuntimeError):
    """Namespaces cannot be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: exit status, and processor seconds of it and all its children."""

    status: int
    cpu_seconds: float


@dataclass(slots=True)
class HostCommand:
    """A command on a host, and the file with all that it says."""

    process: "subprocess.Popen[bytes]"
    log: Path
    _ended: Ended | None = None

    @property
    def ended(self) -> Ended | None:
        """How it ended; None while it runs."""
        self._look(os.WNOHANG)
        return self._ended

    def end(self) -> None:
        """Kill it, if it still runs."""
        if self.ended is None:
            self.process.kill()
            self._look(0)

    def _look(self, options: int) -> None:
        if self._ended is not None:
            return
        pid, status, usage = os.wait4(self.process.pid, options)
        if pid:
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self._ended = Ended(self.process.returncode, usage.ru_utime + usage.ru_stime)

    @property
    def said(self) -> str:
        """All that it said so far."""
        return self.log.read_text("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that works: its name, its network, and a folder that others do not use."""

    name: str
    folder: Path
    namespace: str
    switch: str
    _started: list[HostCommand] = field(default_factory=list)

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> HostCommand:
        """Start a command in the host's folder."""
        log = self.folder / f"command-{len(self._started)}.log"
        # The shell stays: as process 1 of its space the command could not be stopped by a signal.
        script = 'hostname "$0" && "$@"; exit $?'
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.namespace),
                    *(*_OWN_SPACES, "sh", "-c", script, self.name, *command),
                ],
                cwd=self.folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started = HostCommand(process, log)
        self._started.append(started)
        return started

    def cut_off(self) -> None:
        """Pull the cable: nothing is closed, nothing arrives."""
        _ip("-n", self.switch, "link", "set", self.name, "down")

    def connect_again(self) -> None:
        """Plug the cable in."""
        _ip("-n", self.switch, "link", "set", self.name, "up")

    def end_all(self) -> None:
        """Kill what still runs here."""
        for command in self._started:
            command.end()


@dataclass(frozen=True, slots=True)
class Network:
    """Hosts around one PostgreSQL.

    Attributes:
        url: The database, as hosts reach it.
        local_url: The same database through its socket: from outside of the network.
    """

    hosts: tuple[Host, ...]
    url: str
    local_url: str


@contextmanager
def opened_network(folder: Path, names: Sequence[str]) -> Iterator[Network]:
    """Make hosts and a migrated database; everything is gone at the end.

    Args:
        folder: Each host has a folder of its name in it; the server's log is there.
        names: Of the hosts, at most 15 characters each.

    Raises:
        NotPermitted: This machine or user cannot make them.
    """
    _require_programs()
    tag = secrets.token_hex(3)
    with ExitStack() as stack:
        switch = _make_namespace(stack, f"batch-{tag}-db")
        for arguments in (
            ("link", "set", "lo", "up"),
            ("link", "add", "br0", "type", "bridge"),
            ("addr", "add", f"{_SERVER_ADDRESS}/24", "dev", "br0"),
            ("link", "set", "br0", "up"),
        ):
            _ip("-n", switch, *arguments)
        hosts = []
        for number, name in enumerate(names):
            host_folder = folder / name
            host_folder.mkdir()
            namespace = _make_namespace(stack, f"batch-{tag}-{number}")
            _connect_host(switch, namespace, name, f"10.77.0.{10 + number}")
            hosts.append(Host(name, host_folder, namespace, switch))
        url, local_url = stack.enter_context(_running_server(folder, switch))
        migrate.apply_pending(local_url)
        for host in hosts:
            stack.callback(host.end_all)
        yield Network(tuple(hosts), url, local_url)


def _require_programs() -> None:
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or not is_root():
        why = f"no program {', '.join(missing)}" if missing else "only root may"
        raise NotPermitted(f"network namespaces cannot be made here: {why}")


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPermitted(f"`ip {' '.join(arguments)}`: {done.stderr.strip()}")


def _make_namespace(stack: ExitStack, name: str) -> str:
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "del", name)
    return name


def _connect_host(switch: str, namespace: str, name: str, address: str) -> None:
    """A cable from the switch to a host."""
    _ip(
        *("-n", switch, "link", "add", name, "type", "veth"),
        *("peer", "name", "eth0", "netns", namespace),
    )
    _ip("-n", switch, "link", "set", name, "master", "br0", "up")
    _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        _ip("-n", namespace, "link", "set", link, "up")


@contextmanager
def _running_server(folder: Path, namespace: str) -> Iterator[tuple[str, str]]:
    """A server in the namespace of the switch; yields the URL of the network and of its socket."""
    owner = server_owner()
    programs = find_install(owner) / "bin"
    # Not below the other folders: their owner is root, who lets nobody else in.
    home, password = Path(tempfile.mkdtemp(prefix="batch-hosts-")), secrets.token_urlsafe(16)
    password_file = home / "password"
    password_file.write_text(password, encoding="ascii")
    for path in (home, password_file):
        shutil.chown(path, owner.uid, owner.gid)
    as_owner = ("setpriv", f"--reuid={owner.uid}", f"--regid={owner.gid}", "--clear-groups")
    data = home / "data"
    _run(
        *(*as_owner, str(programs / "initdb"), f"--pgdata={data}", "--username=postgres"),
        *("--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256"),
        *(f"--pwfile={password_file}", "--no-sync"),
    )
    with (data / "pg_hba.conf").open("a", encoding="ascii") as rules:
        rules.write("host all all 10.77.0.0/24 scram-sha-256\n")
    # Durable, as a server of production is: only initdb's own files are not flushed.
    options = {
        "listen_addresses": _SERVER_ADDRESS,
        "unix_socket_directories": str(home),
        "max_locks_per_transaction": "256",
        "max_wal_size": "4GB",
    }
    with (folder / "postgres.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *("ip", "netns", "exec", namespace, *as_owner, programs / "postgres", "-D", data),
                *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
            ],
            env=dict(SERVER_ENVIRONMENT, PATH=os.environ["PATH"]),
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    local_url = f"postgresql://postgres@/postgres?host={home}"
    try:
        wait_for(lambda: _answers(local_url), "the server answers", 60)
        yield f"postgresql://postgres:{password}@{_SERVER_ADDRESS}:5432/postgres", local_url
    finally:
        # Fast: sessions of a host that is cut off do not end by themselves.
        server.send_signal(signal.SIGINT)
        server.wait()
        shutil.rmtree(home)


def _run(*command: str) -> None:
    done = subprocess.run(
        command, env=dict(SERVER_ENVIRONMENT), cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[-1]}: {done.stderr.strip()[-1000:]}")


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def wait_for(condition: Callable[[], object], what: str, seconds: float) -> None:
    """Look until the condition holds.

    Raises:
        RuntimeError: It does not within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)
