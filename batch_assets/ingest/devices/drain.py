"""Write what waits in the inbox, in the order of acceptance, by the shards and leases of files.

Rows leave in the transaction that writes them. Accepting them belongs in inbox.py.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import psycopg

from batch_assets.contracts.batch import RejectedRow
from batch_assets.contracts.table import Scope, Window
from batch_assets.ingest.devices.effects import DeviceEffects
from batch_assets.ingest.devices.load import DeviceOptions
from batch_assets.ingest.devices.parts import write_rows
from batch_assets.ingest.devices.poison import POISON, refused_by_database
from batch_assets.ingest.devices.report import DeviceReport, Outcomes
from batch_assets.ingest.devices.shards import StoredMap, read_shard_map, require_map_version
from batch_assets.loading.batch_metrics import BatchClock, BatchOrigin, Stage, publish_measured
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState
from batch_assets.loading.streams import Part, Stream, open_stream
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.devices.bodies import original_of_line, read_bodies
from batch_assets.sources.devices.contract import DAILY, RECORDS, WEEKLY

SOURCE = "inbox"


def drain_inbox(connect: Connector, options: DeviceOptions | None = None) -> DeviceReport:
    """Write what waits in the inbox, until nothing does.

    Args:
        connect: Opens a connection; two for each shard are open at a time, and one more.

    Raises:
        DatabaseUnavailable: The database does not answer.
    """
    options = options or DeviceOptions()
    outcomes = Outcomes()
    with closing(connect()) as conn:
        while True:
            with translating_errors():
                stored = read_shard_map(conn, options.shards)
                conn.commit()
            drains = [
                _ShardDrain(connect, shard, stored, options) for shard in sorted(set(stored.shards))
            ]
            with ThreadPoolExecutor(len(drains), "inbox") as pool:
                ends = [pool.submit(drain.run) for drain in drains]
            found = zip(drains, ends, strict=True)
            if not outcomes.add({d.shard: (d.ledger, end.exception()) for d, end in found}):
                return outcomes.report()


@dataclass(slots=True)
class InboxShard:
    """Takes the rows of one shard from the inbox, batch by batch.

    Attributes:
        rows_max: Most rows of a batch.
        zone: Of times that name none.
        effects: Alerts and messages that follow from records.
    """

    shard: int
    stored: StoredMap
    rows_max: int
    zone: str
    effects: DeviceEffects = field(default_factory=DeviceEffects)
    _bisected_rows: int = 0
    _taken: list[tuple[int, str]] = field(default_factory=list)

    def publish_next(self, stream: Stream) -> Ledger:
        """Write the oldest rows, or refuse the one that cannot be written.

        Returns:
            What became of them; nothing read where nothing waits.

        Raises:
            ShardMapChanged: The map has changed; nothing was taken.
            BatchAssetsError: As of `Stream.publish`.
        """
        while True:
            limit_rows = self._bisected_rows or self.rows_max
            try:
                part = self._publish(stream, limit_rows)
            except POISON as error:
                if not self._taken:
                    raise
                if len(self._taken) == 1:
                    self._bisected_rows = 0
                    return self._refuse(stream, self._taken[0], error)
                self._bisected_rows = max(1, len(self._taken) // 2)
                continue
            # Back to full batches step by step: what is left of the refused one still has its row.
            doubled = 2 * self._bisected_rows
            self._bisected_rows = doubled if doubled < self.rows_max else 0
            return part.ledger

    def _publish(self, stream: Stream, limit_rows: int) -> Part:
        return publish_measured(
            stream,
            lambda conn, clock: self._write(conn, stream.load_id, limit_rows, clock),
            shard=self.shard,
            origin=BatchOrigin.INBOX,
        )

    def _write(
        self, conn: psycopg.Connection, load_id: int, limit_rows: int, clock: BatchClock
    ) -> Part:
        self._taken = []
        require_map_version(conn, self.stored.version)
        found = conn.execute(
            read_query("take_from_inbox"),
            {"buckets": self.stored.buckets_of(self.shard), "limit_rows": limit_rows},
        ).fetchall()
        self._taken = lines = [(inbox_id, body) for inbox_id, body, _ in found]
        if not lines:
            return Part(Ledger())
        clock.row_count, clock.waited_seconds = len(lines), found[0][2]
        with clock.measure(Stage.PARSE):
            batch = read_bodies(lines, lines[-1][0], SOURCE, self.zone)
        ledger = write_rows(conn, load_id, batch.rows, clock, self.effects)
        rejected = len(batch.rejected)
        return Part(
            # What the reader counted, not what became of it: they have to meet.
            Ledger(
                read=batch.read_rows,
                inserted=ledger.inserted,
                updated=ledger.updated,
                unchanged=ledger.unchanged,
                duplicate=ledger.duplicate,
                skipped=ledger.skipped,
                rejected=rejected,
            ),
            batch.rejected,
            position={"inbox_id": batch.last_row},
        )

    def _refuse(self, stream: Stream, line: tuple[int, str], error: Exception) -> Ledger:
        inbox_id, body = line
        row = RejectedRow(SOURCE, inbox_id, (refused_by_database(error),), original_of_line(body))

        def write(conn: psycopg.Connection, clock: BatchClock) -> Part:
            require_map_version(conn, self.stored.version)
            clock.row_count = conn.execute(
                "DELETE FROM devices.inbox WHERE inbox_id = %s", (inbox_id,)
            ).rowcount
            # By its number: an older one may have been committed since.
            ledger = Ledger(read=clock.row_count, rejected=clock.row_count)
            return Part(ledger, [row] * clock.row_count, position={"inbox_id": inbox_id})

        return publish_measured(stream, write, shard=self.shard, origin=BatchOrigin.INBOX).ledger


@dataclass(slots=True)
class _ShardDrain:
    connect: Connector
    shard: int
    stored: StoredMap
    options: DeviceOptions
    ledger: Ledger = field(default_factory=Ledger)

    def run(self) -> None:
        window = Window(f"shard-{self.shard}")
        contracts = (RECORDS, DAILY, WEEKLY)
        rows_max = max(1, self.options.batch_rows // len(set(self.stored.shards)))
        inbox = InboxShard(
            self.shard, self.stored, rows_max, self.options.zone, self.options.effects
        )
        with open_stream(self.connect, contracts, Scope(), window, self.options.stream) as stream:
            while (ledger := inbox.publish_next(stream)).read:
                self.ledger += ledger
            stream.close(LoadState.SUCCESS)
