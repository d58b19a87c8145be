"""The one connection that a vendor allows, as a lease in PostgreSQL.

It holds for all runs on all hosts and of all Dagster storages that use this database, and it ends
with its holder: a process that is killed stops renewing it, and the next one takes it over.
"""

import logging
import time

import psycopg

from batch_assets.errors import LeaseHeld
from batch_assets.loading.leases import (
    Connector,
    Heartbeat,
    Holder,
    acquire_leases,
    drop_leases,
)
from batch_assets.postgres.connect import translating_errors
from batch_assets.sources.market.feed import Feed, VendorFeed
from batch_assets.sources.market.vendors.registry import kind_of

_log = logging.getLogger(__name__)

# Between two looks at a lease that somebody else holds.
_POLL_SECONDS = 0.5


class PostgresSoleUse:
    """A lease on a vendor's address, renewed while it is held; see the protocol SoleUse.

    Its connection stays open as long as the lease is held: who takes over ends it first, so that
    a holder that was only stopped learns of it before its next question.
    """

    def __init__(
        self, connect: Connector, feed: VendorFeed, *, run_id: str | None, lease_seconds: float
    ) -> None:
        self._connect = connect
        self._feed = feed
        self._holder = Holder(run_id)
        self._lease_seconds = lease_seconds
        self._resource = f"vendor/{feed.vendor}/{feed.address}"
        self._tokens: dict[str, int] = {}
        self._conn: psycopg.Connection | None = None
        self._heartbeat: Heartbeat | None = None

    def is_held(self) -> bool:
        """See SoleUse; asks the database, whose clock decides."""
        if self._conn is None or not self._tokens:
            return False
        try:
            row = self._conn.execute(
                "SELECT EXISTS (SELECT FROM ops.leases WHERE resource = %s AND token = %s"
                " AND expires_at > clock_timestamp())",
                (self._resource, self._tokens[self._resource]),
            ).fetchone()
        except psycopg.Error:
            # Without the database nobody knows; whoever takes the lease over ends this connection.
            return False
        return bool(row and row[0])

    def hold(self) -> None:
        """See SoleUse.

        Raises:
            LeaseHeld: Somebody else kept it for `connection_wait_seconds`; names who.
            DatabaseUnavailable: The database does not answer.
        """
        self.release()
        with translating_errors():
            conn = self._connect()
            try:
                conn.autocommit = True
                self._tokens = self._wait(conn)
            except BaseException:
                conn.close()
                raise
        self._conn = conn
        self._heartbeat = Heartbeat(self._connect, self._lease_seconds).__enter__()
        self._heartbeat.add(self._tokens)

    def release(self) -> None:
        """See SoleUse; a lease that was taken over meanwhile stays where it is."""
        heartbeat, conn, tokens = self._heartbeat, self._conn, self._tokens
        self._heartbeat, self._conn, self._tokens = None, None, {}
        if heartbeat is not None:
            heartbeat.__exit__(None, None, None)
        if conn is None:
            return
        try:
            drop_leases(conn, tokens)
        except psycopg.Error:
            # The connection was ended, by a takeover or with the server: the lease runs out.
            return
        finally:
            conn.close()

    def _wait(self, conn: psycopg.Connection) -> dict[str, int]:
        deadline = time.monotonic() + self._feed.connection_wait_seconds
        is_told = False
        while True:
            with conn.transaction():
                tokens = acquire_leases(
                    conn,
                    [self._resource],
                    holder=self._holder,
                    lease_seconds=self._lease_seconds,
                )
            if tokens:
                return tokens
            left_seconds = deadline - time.monotonic()
            if left_seconds <= 0:
                raise self._busy(conn)
            if not is_told:
                _log.info("waiting for the connection: %s", self._who(conn))
                is_told = True
            time.sleep(min(_POLL_SECONDS, left_seconds))

    def _who(self, conn: psycopg.Connection) -> str:
        row = conn.execute(
            "SELECT holder, acquired_at FROM ops.leases WHERE resource = %s", (self._resource,)
        ).fetchone()
        who = f"{row[0]} holds it since {row[1]:%Y-%m-%d %H:%M:%S%z}" if row else "it was held"
        return f"{self._feed.vendor} allows one connection, and {who}"

    def _busy(self, conn: psycopg.Connection) -> LeaseHeld:
        feed = self._feed
        return LeaseHeld(
            f"{self._who(conn)}; waited {feed.connection_wait_seconds:g} s for it "
            f"(connection_wait_seconds of feed {feed.name}); run the partition again when that "
            f"process has ended; a killed one loses it within {self._lease_seconds:g} s"
        )


def sole_use_of(
    feed: Feed, connect: Connector, *, run_id: str | None, lease_seconds: float
) -> PostgresSoleUse | None:
    """What keeps a vendor's one connection to one process; None where it allows several."""
    if not isinstance(feed, VendorFeed) or not kind_of(feed.vendor).one_connection:
        return None
    return PostgresSoleUse(connect, feed, run_id=run_id, lease_seconds=lease_seconds)
