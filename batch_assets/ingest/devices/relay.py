"""Send what waits in the outbox: in order per device, at least once, each message with its id.

One relay at a time sends the messages of a shard, under a lease of its own. What a destination
takes is deleted; what it refuses is tried again later and holds its device back until then; while
it does not answer, everything waits.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg

from batch_assets.errors import (
    BatchAssetsError,
    DestinationUnavailable,
    InfrastructureError,
    LeaseLost,
    ShardMapChanged,
)
from batch_assets.execution.failpoints import reach
from batch_assets.ingest.devices.shards import StoredMap, read_shard_map, require_map_version
from batch_assets.ingest.devices.sinks import Sink, open_sinks
from batch_assets.loading.device_outbox import (
    Message,
    Refusals,
    delete_sent_messages,
    hold_back_refused,
    list_due_destinations,
    read_due_messages,
)
from batch_assets.loading.leases import (
    Connector,
    Heartbeat,
    Holder,
    acquire_leases,
    drop_leases,
    require_leases,
)
from batch_assets.postgres.connect import translating_errors
from batch_assets.settings import Settings
from batch_assets.sources.devices.settings import read_device_settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """How messages are sent.

    Attributes:
        shards: Where no map is stored yet.
        lease_seconds: How long a silent relay keeps a shard.
        refusals: How long refused messages are tried again.
        idle_seconds: Of `run_relay`, between two looks at an outbox that was empty.
        wait_seconds_max: Of `run_relay`, the longest pause while something does not answer.
    """

    shards: int = 4
    lease_seconds: float = 30.0
    refusals: Refusals = field(default_factory=Refusals)
    idle_seconds: float = 0.2
    wait_seconds_max: float = 30.0


@dataclass(slots=True)
class RelayReport:
    """What a relay did.

    Attributes:
        sent: Messages that arrived.
        refused: Attempts that a destination refused; they are made again later.
        dead: Messages that were refused too often, and are dead letters now.
        held_shards: Shards that another relay is sending.
        unavailable: Why destinations got nothing more, by name.
    """

    sent: int = 0
    refused: int = 0
    dead: int = 0
    held_shards: set[int] = field(default_factory=set)
    unavailable: dict[str, str] = field(default_factory=dict)


def relay_outbox(
    connect: Connector, sinks: Mapping[str, Sink], options: RelayOptions | None = None
) -> RelayReport:
    """Send what is due, until nothing is.

    Args:
        connect: Opens a connection; one, and one for the heartbeat if it lasts.
        sinks: By destination; messages for others wait.

    Raises:
        DatabaseUnavailable: The database does not answer. What was sent since the last commit is
            sent again.
    """
    options = options or RelayOptions()
    report = RelayReport()
    if not sinks:
        return report
    with translating_errors(), closing(connect()) as conn:
        while True:
            due = list_due_destinations(conn, list(sinks))
            stored = read_shard_map(conn, options.shards)
            conn.commit()
            if not due:
                return report
            relay = _Relay(connect, conn, stored, options, report)
            try:
                for shard in sorted(set(stored.shards)):
                    relay.send_shard(shard, {name: sinks[name] for name in due})
            except ShardMapChanged:
                conn.rollback()
                continue
            return report


def run_relay(
    connect: Connector,
    sinks: Mapping[str, Sink],
    stop: threading.Event,
    options: RelayOptions | None = None,
) -> None:
    """Send what is due, as soon as it is, until told to stop; whatever fails is waited for."""
    options = options or RelayOptions()
    failures = 0
    while not stop.is_set():
        try:
            report = relay_outbox(connect, sinks, options)
            failed = "; ".join(report.unavailable.values())
        except (BatchAssetsError, psycopg.Error) as error:
            failed = str(error)
        failures = failures + 1 if failed else 0
        if failures == 1:
            logger.warning("the relay of devices waits: %s", failed)
        pause = options.idle_seconds * 2.0 ** min(failures, 30)
        stop.wait(min(pause, options.wait_seconds_max))


def relay_as_configured(connect: Connector, settings: Settings) -> RelayReport:
    """Send what is due to the destinations of the configuration; nothing where there are none.

    Raises:
        ConfigurationError: A URL cannot be used, or its client is not installed.
        DatabaseUnavailable: The database does not answer.
    """
    options = RelayOptions(shards=read_device_settings(settings).shards)
    with open_sinks(settings) as sinks:
        return relay_outbox(connect, sinks, options)


def relay_after_load(connect: Connector, settings: Settings) -> None:
    """Send what a load has put into the outbox; what cannot be sent now waits, and is logged.

    Raises:
        ConfigurationError: A URL cannot be used, or its client is not installed.
    """
    try:
        reasons = list(relay_as_configured(connect, settings).unavailable.values())
    except (InfrastructureError, LeaseLost) as error:
        # The load itself has its end already.
        reasons = [str(error)]
    for reason in reasons:
        logger.warning("%s", reason)


@contextmanager
def relaying(connect: Connector, settings: Settings) -> Iterator[None]:
    """Send from a thread while the body runs; what the body left behind is sent at its end.

    Raises:
        ConfigurationError: A URL cannot be used, or its client is not installed.
    """
    options = RelayOptions(shards=read_device_settings(settings).shards)
    stop = threading.Event()
    with open_sinks(settings) as sinks, ThreadPoolExecutor(1, "relay") as pool:
        if not sinks:
            yield
            return
        end = pool.submit(run_relay, connect, sinks, stop, options)
        try:
            yield
        finally:
            stop.set()
            end.result()
            # Where the destination or the database is gone, the messages wait for the next relay.
            try:
                relay_outbox(connect, sinks, options)
            except (BatchAssetsError, psycopg.Error):
                logger.warning("the last messages of devices wait in the outbox", exc_info=True)


@dataclass(slots=True)
class _Relay:
    connect: Connector
    conn: psycopg.Connection
    stored: StoredMap
    options: RelayOptions
    report: RelayReport

    def send_shard(self, shard: int, sinks: Mapping[str, Sink]) -> None:
        """Send what is due of one shard, unless somebody else does."""
        with self._leased(shard) as tokens:
            if tokens is None:
                self.report.held_shards.add(shard)
                return
            buckets = self.stored.buckets_of(shard)
            for name, sink in sinks.items():
                while name not in self.report.unavailable:
                    if not self._send_some(name, sink, buckets, tokens):
                        break

    @contextmanager
    def _leased(self, shard: int) -> Iterator[dict[str, int] | None]:
        tokens = acquire_leases(
            self.conn,
            [f"devices.outbox/shard-{shard}"],
            holder=Holder(),
            lease_seconds=self.options.lease_seconds,
        )
        self.conn.commit()
        if not tokens:
            yield None
            return
        with Heartbeat(self.connect, self.options.lease_seconds) as heartbeat:
            heartbeat.add(tokens)
            try:
                yield tokens
            finally:
                if not (self.conn.closed or self.conn.broken):
                    self.conn.rollback()
                    drop_leases(self.conn, tokens)
                    self.conn.commit()

    def _send_some(
        self, name: str, sink: Sink, buckets: Sequence[int], tokens: dict[str, int]
    ) -> int:
        """Send the next messages, and commit what became of them; returns how many were due."""
        # Until the commit, no other relay can get any of these buckets by another map.
        require_map_version(self.conn, self.stored.version)
        messages = read_due_messages(self.conn, name, buckets, sink.messages_max)
        if not messages:
            self.conn.rollback()
            return 0
        # A relay that was taken over while it stood still must not send what another one has sent.
        require_leases(self.conn, tokens)
        sent, refused = self._send(name, sink, messages)
        reach("relay.after_send")
        delete_sent_messages(self.conn, sent)
        if refused:
            self.report.dead += hold_back_refused(
                self.conn, name, refused, messages, self.options.refusals
            )
        self.conn.commit()
        self.report.sent += len(sent)
        self.report.refused += len(refused)
        return len(messages)

    def _send(
        self, name: str, sink: Sink, messages: Sequence[Message]
    ) -> tuple[list[int], dict[int, str]]:
        sent: list[int] = []
        refused: dict[int, str] = {}
        held: set[str] = set()
        for turn in _turns(messages):
            turn = [message for message in turn if message.device_sn not in held]
            try:
                answers = sink.send(turn) if turn else {}
            except DestinationUnavailable as error:
                self.report.unavailable[name] = str(error)
                break
            refused |= answers
            held |= {message.device_sn for message in turn if message.outbox_id in answers}
            sent += [message.outbox_id for message in turn if message.outbox_id not in answers]
        return sent, refused


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    """The first message of each device, then the second of each, and so on.

    What comes after a message of the same device is sent only when that one has arrived.
    """
    turns: list[list[Message]] = []
    seen: dict[str, int] = {}
    for message in messages:
        place = seen[message.device_sn] = seen.get(message.device_sn, -1) + 1
        if place == len(turns):
            turns.append([])
        turns[place].append(message)
    return turns
