"""The inbox of devices: accept records durably, and write what was accepted.

Accepted means committed. A full inbox refuses and says when to come again; nothing that was
accepted is dropped. Rows leave in the transaction that writes them, in the order of acceptance,
by the same shards and leases as files.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import psycopg
import pyarrow as pa

from batch_assets.contracts.table import Scope, Window
from batch_assets.errors import DataError, InboxFull
from batch_assets.ingest.devices.load import DeviceOptions
from batch_assets.ingest.devices.parts import write_rows
from batch_assets.ingest.devices.report import DeviceReport, Outcomes
from batch_assets.ingest.devices.shards import StoredMap, read_shard_map, require_map_version
from batch_assets.loading.copy import copy_batches
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState
from batch_assets.loading.streams import Part, open_stream
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.names import table_identifier
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.devices.bodies import read_bodies
from batch_assets.sources.devices.contract import DAILY, RECORDS, WEEKLY
from batch_assets.sources.devices.parse import DEVICE_NAMES
from batch_assets.sources.devices.shards import bucket_of

CAPACITY_ROWS = 100_000
# What a continuous writer needs to make room; a client that comes sooner only asks again.
RETRY_AFTER_SECONDS = 2.0
_SOURCE = "inbox"
_SCHEMA = pa.schema([("bucket", pa.int16()), ("body", pa.string())])


def append_to_inbox(
    conn: psycopg.Connection,
    bodies: Sequence[Mapping[str, object]],
    *,
    capacity_rows: int = CAPACITY_ROWS,
) -> int:
    """Accept records; returns once they are committed.

    Args:
        conn: Outside of a transaction: this one commits, so that accepted means durable.
        bodies: As clients post them; all of them are accepted, or none.
        capacity_rows: How many rows may wait. Clients that come in the same moment may together
            pass it by what they bring.

    Returns:
        How many were accepted.

    Raises:
        InboxFull: There is no room for them now; says when to try again.
        DataError: They are more than the inbox can ever hold, or cannot be written as JSON.
    """
    if len(bodies) > capacity_rows:
        raise DataError(
            f"{len(bodies)} records were sent at once, expected at most {capacity_rows}, which is "
            "what the inbox holds; send them in smaller batches, or drop them as a file"
        )
    rows = [{"bucket": _bucket(body), "body": _as_json(body)} for body in bodies]
    batch = pa.RecordBatch.from_pylist(rows, _SCHEMA)
    with translating_errors(), conn.transaction():
        _require_room(conn, len(bodies), capacity_rows)
        return copy_batches(conn, table_identifier("devices.inbox"), _SCHEMA, [batch])


def _require_room(conn: psycopg.Connection, rows: int, capacity_rows: int) -> None:
    # No fewer than there are, for two looks into the index.
    span = conn.execute("SELECT max(inbox_id) - min(inbox_id) + 1 FROM devices.inbox").fetchone()
    if span is None or (span[0] or 0) + rows <= capacity_rows:
        return
    found = conn.execute("SELECT count(*) FROM devices.inbox").fetchone()
    waiting = found[0] if found else 0
    if waiting + rows > capacity_rows:
        raise InboxFull(
            f"the inbox holds {waiting} records of {capacity_rows}, and {rows} were sent; none of "
            f"them was accepted; send them again in {RETRY_AFTER_SECONDS:g} s",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )


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
class _ShardDrain:
    connect: Connector
    shard: int
    stored: StoredMap
    options: DeviceOptions
    ledger: Ledger = field(default_factory=Ledger)

    def run(self) -> None:
        window = Window(f"shard-{self.shard}")
        contracts = (RECORDS, DAILY, WEEKLY)
        with open_stream(self.connect, contracts, Scope(), window, self.options.stream) as stream:
            while True:
                part = stream.publish(lambda conn: self._write(conn, stream.load_id))
                self.ledger += part.ledger
                if not part.ledger.read:
                    break
            stream.close(LoadState.SUCCESS)

    def _write(self, conn: psycopg.Connection, load_id: int) -> Part:
        require_map_version(conn, self.stored.version)
        limit_rows = max(1, self.options.batch_rows // len(set(self.stored.shards)))
        lines = conn.execute(
            read_query("take_from_inbox"),
            {"buckets": self.stored.buckets_of(self.shard), "limit_rows": limit_rows},
        ).fetchall()
        if not lines:
            return Part(Ledger())
        batch = read_bodies(lines, lines[-1][0], _SOURCE, self.options.zone)
        ledger = write_rows(conn, load_id, batch.rows)
        rejected = len(batch.rejected)
        return Part(
            # What the reader counted, not what became of it: they have to meet.
            Ledger(
                read=batch.read_rows,
                inserted=ledger.inserted,
                updated=ledger.updated,
                unchanged=ledger.unchanged,
                duplicate=ledger.duplicate,
                rejected=rejected,
            ),
            batch.rejected,
            position={"inbox_id": batch.last_row},
        )


def _bucket(body: Mapping[str, object]) -> int:
    device = next((body[name] for name in DEVICE_NAMES if name in body), None)
    # As the rows will be called once they are typed: without blanks, numbers as their text.
    return bucket_of("" if device is None else str(device).strip())


def _as_json(body: Mapping[str, object]) -> str:
    try:
        text = json.dumps(body, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"a record cannot be written as JSON ({error}); none of the batch was accepted; send "
            "objects of texts, numbers, true, false and null"
        ) from error
    return text
