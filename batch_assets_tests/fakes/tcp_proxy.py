"""A TCP proxy before a PostgreSQL server, with the faults of networks.

It forwards bytes both ways and can delay them, hold them back without closing anything (half-open),
cut every connection, and lose the answer to the commit that publishes.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_COMMIT = b"COMMIT\0"
# The last statement before a publishing commit gives the leases up; see loading/leases.py.
_PUBLISHES = b"DELETE FROM ops.leases"
_POLL_SECONDS = 0.2


class TcpProxy:
    """Listens on loopback; faults are switched on and off while connections are open.

    Attributes:
        delay_seconds: Before each piece is passed on, either way.
        lost_commits: Publishing commits whose answer was lost.
        accepted: Connections so far.
    """

    def __init__(self, upstream: Path | tuple[str, int]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.delay_seconds = 0.0
        self.lost_commits = 0
        self.accepted = 0
        self._commits_to_lose = 0
        self._is_cut = False
        self._flows = threading.Event()
        self._flows.set()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def lose_publishing_commits(self, count: int) -> None:
        """The next so many publishing commits reach the server; their answers reach nobody."""
        with self._lock:
            self._commits_to_lose = count

    def freeze(self) -> None:
        """Hold everything back, with every connection left open, until `thaw`."""
        self._flows.clear()

    def thaw(self) -> None:
        """Pass on what was held back."""
        self._flows.set()

    def cut(self) -> None:
        """End all connections, and refuse others until `restore`."""
        self._is_cut = True
        with self._lock:
            for end in self._open:
                _end(end)
            self._open.clear()

    def restore(self) -> None:
        """Accept connections again."""
        self._is_cut = False

    def _accept(self) -> None:
        self._listener.settimeout(_POLL_SECONDS)
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.accepted += 1
            if self._is_cut:
                _end(client)
                continue
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = self._open_upstream()
        except OSError:
            # As a proxy does while its server restarts: the client's connection is closed.
            _end(client)
            return
        loses = threading.Event()
        with self._lock:
            self._open += [client, server]
        for source, target, watch in ((client, server, True), (server, client, False)):
            thread = threading.Thread(
                target=self._pass_on, args=(source, target, loses, watch), daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def _open_upstream(self) -> socket.socket:
        if isinstance(self._upstream, Path):
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._upstream))
            return server
        return socket.create_connection(self._upstream)

    def _pass_on(
        self, source: socket.socket, target: socket.socket, loses: threading.Event, watch: bool
    ) -> None:
        """Until either end closes; then both are closed."""
        publishes = False
        try:
            while piece := source.recv(65_536):
                while not self._flows.wait(_POLL_SECONDS):
                    if self._stop.is_set():
                        return
                if self.delay_seconds:
                    self._stop.wait(self.delay_seconds)
                if watch:
                    publishes = publishes or _PUBLISHES in piece
                    if publishes and _COMMIT in piece:
                        publishes = False
                        self._lose(loses)
                elif loses.is_set():
                    # The server has answered the commit: it has happened.
                    self.lost_commits += 1
                    return
                target.sendall(piece)
        except OSError:
            return
        finally:
            _end(source)
            _end(target)

    def _lose(self, loses: threading.Event) -> None:
        with self._lock:
            if self._commits_to_lose:
                self._commits_to_lose -= 1
                loses.set()

    def close(self) -> None:
        """End everything and wait for the threads."""
        self._stop.set()
        self._flows.set()
        self.cut()
        for thread in self._threads:
            thread.join(timeout=10)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def running_proxy(upstream: Path | tuple[str, int]) -> Iterator[TcpProxy]:
    """A proxy until the block ends."""
    proxy = TcpProxy(upstream)
    accepting = threading.Thread(target=proxy._accept, daemon=True)
    accepting.start()
    try:
        yield proxy
    finally:
        proxy.close()
        accepting.join(timeout=10)
        proxy._listener.close()
