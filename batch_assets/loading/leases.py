"""Leases: one writer per window, whoever started it (promise P5).

A lease is a row with a token that only rises. It expires by the database's clock unless its
heartbeat renews it. Publishing deletes the row with its token as its last statement: where the
token is gone, somebody else took the window over and nothing is published.
"""

import logging
import os
import platform
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import psycopg

from batch_assets.errors import DatabaseUnavailable, LeaseLost
from batch_assets.postgres.sql_files import read_query

logger = logging.getLogger(__name__)

Connector = Callable[[], psycopg.Connection]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease: shown by `locks`, and compared with live processes by the reaper."""

    run_id: str | None = None

    @property
    def name(self) -> str:
        """`host:pid` and the run, if there is one."""
        process = f"{platform.node()}:{os.getpid()}"
        return f"{process} run {self.run_id}" if self.run_id else process


def acquire_leases(
    conn: psycopg.Connection, resources: Sequence[str], *, holder: Holder, lease_seconds: float
) -> dict[str, int]:
    """Take the leases that are free or expired; the backend of an expired holder is ended first.

    Returns:
        Token by resource, for the leases obtained; resources that somebody holds are absent.
    """
    conn.execute(read_query("terminate_expired_holders"), {"resources": list(resources)})
    backend_pid, backend_start = _backend_of(conn)
    rows = conn.execute(
        read_query("acquire_leases"),
        {
            "resources": list(resources),
            "holder": holder.name,
            "backend_pid": backend_pid,
            "backend_start": backend_start,
            "lease_seconds": lease_seconds,
        },
    ).fetchall()
    return dict(rows)


def require_leases(conn: psycopg.Connection, tokens: dict[str, int]) -> None:
    """Hold leases against a takeover until the caller's transaction ends; heartbeats pass.

    Raises:
        LeaseLost: A token is no longer the current one.
    """
    found = conn.execute(
        "SELECT resource, token FROM ops.leases "
        "WHERE (resource, token) IN (SELECT * FROM unnest(%s::text[], %s::bigint[])) "
        "ORDER BY resource FOR KEY SHARE",
        (list(tokens), list(tokens.values())),
    ).fetchall()
    _refuse_missing(tokens, found)


def release_leases(conn: psycopg.Connection, tokens: dict[str, int]) -> None:
    """Give leases up with the caller's transaction; the last statement before its commit.

    Raises:
        LeaseLost: A token is no longer the current one; the caller rolls back.
    """
    found = conn.execute(read_query("release_leases"), _arrays(tokens)).fetchall()
    _refuse_missing(tokens, found)


def drop_leases(conn: psycopg.Connection, tokens: dict[str, int]) -> None:
    """Give up what is still ours of these leases; what was taken over is not ours any more."""
    conn.execute(read_query("release_leases"), _arrays(tokens))


def _arrays(tokens: dict[str, int]) -> dict[str, list[str] | list[int]]:
    return {"resources": list(tokens), "tokens": list(tokens.values())}


def _backend_of(conn: psycopg.Connection) -> tuple[int, object]:
    row = conn.execute(
        "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    ).fetchone()
    assert row is not None  # noqa: S101 - the asking backend is always in the view
    return row[0], row[1]


def _refuse_missing(tokens: dict[str, int], found: Iterable[tuple[str, int]]) -> None:
    lost = sorted(set(tokens) - {resource for resource, _ in found})
    if lost:
        raise LeaseLost(
            f"the lease on {', '.join(lost)} was taken over while this process was writing; "
            "nothing was published; the new holder's load is the one that counts"
        )


@dataclass(slots=True)
class Heartbeat:
    """Renews every lease of this process from a thread with a connection of its own.

    The connection is opened at the first beat, so that short loads do not pay for it.
    """

    connect: Connector
    lease_seconds: float
    _tokens: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    # Said once: a database that is away for an hour would fill the log.
    _is_failing: bool = False

    def __enter__(self) -> "Heartbeat":
        self._thread = threading.Thread(target=self._run, name="lease-heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def add(self, tokens: dict[str, int]) -> None:
        """Start renewing these leases."""
        with self._lock:
            self._tokens.update(tokens)

    def remove(self, tokens: dict[str, int]) -> None:
        """Stop renewing these leases."""
        with self._lock:
            for resource in tokens:
                self._tokens.pop(resource, None)

    def _run(self) -> None:
        conn: psycopg.Connection | None = None
        # Three beats fit into one lease, so one lost beat does not lose it.
        while not self._stop.wait(self.lease_seconds / 3):
            with self._lock:
                tokens = dict(self._tokens)
            if tokens:
                conn = self._beat(conn, tokens)
        if conn is not None:
            conn.close()

    def _beat(
        self, conn: psycopg.Connection | None, tokens: dict[str, int]
    ) -> psycopg.Connection | None:
        try:
            if conn is None:
                conn = self.connect()
                # A process that is stopped between a beat and its commit would keep the row locked.
                conn.autocommit = True
            conn.execute(
                read_query("renew_leases"),
                {**_arrays(tokens), "lease_seconds": self.lease_seconds},
            )
        except (psycopg.Error, DatabaseUnavailable):
            # A beat that fails is tried again at the next one; if the lease runs out meanwhile,
            # publishing refuses. The token decides, not this thread.
            if not self._is_failing:
                logger.warning("lease heartbeat failed", exc_info=True)
            self._is_failing = True
            if conn is not None:
                conn.close()
            return None
        self._is_failing = False
        return conn
