"""The continuous mode: shards that are written as records come, shared by any number of hosts.

The supervisor starts and stops shard loops by the map in force and by who else is there. What fails
is started again after a pause that grows; nothing but being told to ends it.
"""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import psycopg

from batch_assets.errors import BatchAssetsError, InfrastructureError, LeaseError
from batch_assets.ingest.devices.crew import Crew, Member, plan_moves
from batch_assets.ingest.devices.feeder import FileFeeder
from batch_assets.ingest.devices.shard_loop import ContinuousOptions, ShardLoop
from batch_assets.ingest.devices.shards import StoredMap, read_shard_map
from batch_assets.loading.leases import Connector, drop_leases
from batch_assets.loading.ledger import Ledger
from batch_assets.postgres.connect import translating_errors
from batch_assets.sources.devices.shards import BUCKETS

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LAST_PAUSE_SECONDS = 30.0
# Records wait outside meanwhile: being back soon is worth a few attempts more.
_DATABASE_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ContinuousReport:
    """What one process wrote before it was stopped.

    Attributes:
        ledger: Rows committed, by outcome.
        failures: How often a shard had to be started again.
    """

    ledger: Ledger
    failures: int


def run_continuously(
    connect: Connector,
    options: ContinuousOptions,
    stop: threading.Event,
    member: Member | None = None,
) -> ContinuousReport:
    """Write what comes until told to stop; then finish the batches in hand and free the leases.

    Args:
        connect: Opens a connection; two for each shard are open at a time, and two more.
        stop: Set by whoever ends it.
        member: By which name it is known to the other workers.

    Raises:
        Exception: The reader of the landing folder failed in a way nobody foresaw.
    """
    member = member or Member(options.settings.lease_seconds)
    # A thread for each shard there can be, and one for the folder; those not needed do not exist.
    with ThreadPoolExecutor(BUCKETS + 1, "devices") as pool:
        crew = _Supervisor(connect, options, member, pool)
        feeder, feeding = None, None
        if options.root is not None:
            feeder = FileFeeder(connect, options.root, options, crew.writing)
            feeding = pool.submit(feeder.run)
        try:
            while not stop.wait(crew.tick()):
                if feeding is not None and feeding.done():
                    break
        finally:
            if feeder is not None:
                feeder.stop()
            crew.close()
        if feeding is not None:
            feeding.result()
    return ContinuousReport(crew.ledger, crew.failures)


@dataclass(slots=True)
class _Supervisor:
    connect: Connector
    options: ContinuousOptions
    member: Member
    pool: ThreadPoolExecutor
    ledger: Ledger = field(default_factory=Ledger)
    failures: int = 0
    _conn: psycopg.Connection | None = None
    _unreturned: dict[str, int] = field(default_factory=dict)
    _loops: dict[int, ShardLoop] = field(default_factory=dict)
    _pauses: dict[int, float] = field(default_factory=dict)
    _start_at: dict[int, float] = field(default_factory=dict)
    _database_pause: float = _FIRST_PAUSE_SECONDS

    def writing(self) -> dict[int, ShardLoop]:
        """The loops of this moment, by shard; those that end are not among them."""
        return {n: one for n, one in dict(self._loops).items() if not one.is_stopping}

    def tick(self) -> float:
        """Look who is there, and start and stop what follows from it.

        Returns:
            Seconds until the next look.
        """
        self._bury()
        try:
            with translating_errors():
                stored, crew = self._look()
        except InfrastructureError as error:
            logger.warning("the database is waited for: %s", _describe(error))
            self._disconnect()
            self._database_pause = min(2 * self._database_pause, _DATABASE_PAUSE_SECONDS)
            return self._database_pause
        self._database_pause = _FIRST_PAUSE_SECONDS
        self._move(stored, crew)
        return min(self.options.tick_seconds, self.member.lease_seconds / 3)

    def _look(self) -> tuple[StoredMap, Crew]:
        if self._conn is None or self._conn.closed or self._conn.broken:
            self._conn = self.connect()
        conn = self._conn
        self._return_leases(conn)
        stored = read_shard_map(conn, self.options.settings.shards)
        crew = self.member.announce(conn, set(stored.shards))
        conn.commit()
        return stored, crew

    def _return_leases(self, conn: psycopg.Connection) -> None:
        """Give back what loops could not that lost their connection: nobody needs to wait for it.

        A commit of theirs that is still under way holds its lease, and this waits for it.
        """
        if self._unreturned:
            drop_leases(conn, self._unreturned)
            conn.commit()
            self._unreturned.clear()

    def _move(self, stored: StoredMap, crew: Crew) -> None:
        for loop in self._loops.values():
            if loop.stored.version != stored.version:
                loop.stop()
        shards = sorted(set(stored.shards))
        moves = plan_moves(shards, [n for n in self._loops if n in shards], crew)
        for shard in moves.give_back:
            logger.info("shard %d is given back for another worker", shard)
            self._loops[shard].stop()
        now = time.monotonic()
        for shard in moves.take:
            if self._start_at.get(shard, 0.0) <= now:
                loop = ShardLoop(self.connect, shard, stored, self.options)
                self._loops[shard] = loop
                loop.start(self.pool)

    def _bury(self) -> None:
        """Take the loops that have ended out, and decide when to start them again."""
        for shard, loop in list(self._loops.items()):
            if not loop.has_ended:
                continue
            del self._loops[shard]
            error = loop.join()
            self._unreturned.update(loop.tokens)
            self.ledger += loop.ledger
            if loop.ledger.read:
                self._pauses.pop(shard, None)
            if error is None or isinstance(error, LeaseError):
                # Somebody else was faster, or the map has changed: nothing is wrong.
                logger.info("shard %d has ended: %s", shard, error or "as it was told to")
                continue
            self.failures += 1
            if isinstance(error, InfrastructureError):
                # It comes back when the database does, which the supervisor sees for itself.
                logger.warning("shard %d lost its connection: %s", shard, _describe(error))
                continue
            pause = self._pauses.get(shard, _FIRST_PAUSE_SECONDS)
            self._pauses[shard] = min(2 * pause, _LAST_PAUSE_SECONDS)
            self._start_at[shard] = time.monotonic() + pause
            logger.error(
                "shard %d failed and starts again in %.1f s: %s",
                shard,
                pause,
                _describe(error),
                exc_info=error,
            )

    def _disconnect(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def close(self) -> None:
        """Let every shard finish its batch, and leave."""
        for loop in self._loops.values():
            loop.stop()
        for loop in self._loops.values():
            loop.join()
        self._bury()
        try:
            with translating_errors():
                if self._conn is None:
                    self._conn = self.connect()
                self._conn.rollback()
                self._return_leases(self._conn)
                self.member.leave(self._conn)
                self._conn.commit()
        except InfrastructureError as error:
            logger.warning("left without a word, the leases run out: %s", _describe(error))
        self._disconnect()


def _describe(error: BaseException) -> str:
    name = "" if isinstance(error, BatchAssetsError) else f"{type(error).__name__}: "
    return name + " ".join(str(error).split())
