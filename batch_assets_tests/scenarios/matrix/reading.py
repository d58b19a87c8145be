"""A reader that polls the table throughout a scenario, for promise P2."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

State = tuple[object, ...]
"""Row count of a day, and a hash over all its values."""

_STATES = (
    "SELECT trade_date::text, count(*), sum(hashtextextended("
    "concat_ws('|', symbol, open, high, low, close, pre_close, volume, amount), 0)) "
    "FROM market.daily_bars GROUP BY trade_date"
)


def read_states(conn: psycopg.Connection) -> dict[str, State]:
    """What a reader sees now, by day."""
    return {str(day): tuple(state) for day, *state in conn.execute(_STATES.encode()).fetchall()}


class Reader:
    """Polls without a pause from a connection that faults of the network do not touch."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: set[tuple[str, State]] = set()
        self.looks = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def states(self) -> dict[str, State]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            return read_states(conn)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._poll()
            except psycopg.Error as error:
                # The server is being restarted, which is what some scenarios are about.
                self.failures.append(str(error))
                self._stop.wait(0.05)

    def _poll(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            while not self._stop.is_set():
                self.seen.update(read_states(conn).items())
                self.looks += 1
                # A little room for those who share the two cores with it.
                self._stop.wait(0.03)


@contextmanager
def reading(url: str) -> Iterator[Reader]:
    """A reader that polls until the block ends."""
    reader = Reader(url)
    thread = reader._thread
    thread.start()
    try:
        yield reader
    finally:
        reader._stop.set()
        thread.join()
