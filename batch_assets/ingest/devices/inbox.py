"""The inbox of devices: accept records durably.

Accepted means committed. A full inbox refuses and says when to come again; nothing that was
accepted is dropped. `append_to_inbox` takes all or nothing, and judges nothing: what cannot be
written later becomes a dead letter. `accept_records` judges first, takes what is good and tells
the sender what is not. Writing what was accepted belongs in drain.py.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa

from batch_assets.contracts.batch import Violation
from batch_assets.errors import DataError, InboxFull
from batch_assets.loading.copy import copy_batches
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.names import table_identifier
from batch_assets.sources.devices.bodies import read_bodies
from batch_assets.sources.devices.parse import DEVICE_NAMES
from batch_assets.sources.devices.shards import bucket_of

CAPACITY_ROWS = 100_000
# What a continuous writer needs to make room; a client that comes sooner only asks again.
RETRY_AFTER_SECONDS = 2.0
_SCHEMA = pa.schema([("bucket", pa.int16()), ("body", pa.string())])


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A record that was not accepted.

    Attributes:
        index: Its place in what was sent, from 0.
        violations: What is wrong with it.
    """

    index: int
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What became of records that were sent.

    Attributes:
        accepted: Records that are committed.
        refused: All others, in the order in which they were sent.
    """

    accepted: int
    refused: tuple[RefusedRecord, ...]


def accept_records(
    conn: psycopg.Connection,
    bodies: Sequence[object],
    *,
    capacity_rows: int = CAPACITY_ROWS,
    zone: str = "UTC",
) -> Acceptance:
    """Accept the records that can be written; returns once they are committed.

    Args:
        conn: Outside of a transaction: this one commits, so that accepted means durable.
        bodies: As clients post them, decoded from JSON.
        capacity_rows: As in `append_to_inbox`.
        zone: Of times that name none.

    Raises:
        InboxFull: There is no room for them now; none was accepted.
        DataError: They are more than the inbox can ever hold.
    """
    texts, refused = _encode_each(bodies)
    batch = read_bodies([(n, text) for n, text in texts.items()], len(bodies), "", zone)
    for row in batch.rejected:
        refused.setdefault(row.row, []).extend(row.violations)
    good = [(_bucket(bodies[n]), text) for n, text in texts.items() if n not in refused]
    accepted = _append(conn, good, capacity_rows) if good else 0
    return Acceptance(accepted, tuple(RefusedRecord(n, tuple(refused[n])) for n in sorted(refused)))


def _encode_each(bodies: Sequence[object]) -> tuple[dict[int, str], dict[int, list[Violation]]]:
    texts: dict[int, str] = {}
    refused: dict[int, list[Violation]] = {}
    for index, body in enumerate(bodies):
        try:
            texts[index] = _as_json(body)
        except DataError:
            refused[index] = [
                Violation("not_json", "", repr(body)[:200], "a JSON object", "send finite numbers")
            ]
    return texts, refused


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
    return _append(conn, [(_bucket(body), _as_json(body)) for body in bodies], capacity_rows)


def _append(conn: psycopg.Connection, rows: Sequence[tuple[int, str]], capacity_rows: int) -> int:
    if len(rows) > capacity_rows:
        raise DataError(
            f"{len(rows)} records were sent at once, expected at most {capacity_rows}, which is "
            "what the inbox holds; send them in smaller batches, or drop them as a file"
        )
    buckets, texts = zip(*rows, strict=True) if rows else ((), ())
    batch = pa.record_batch([list(buckets), list(texts)], schema=_SCHEMA)
    with translating_errors(), conn.transaction():
        _require_room(conn, len(rows), capacity_rows)
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


def _bucket(body: object) -> int:
    fields = body if isinstance(body, Mapping) else {}
    device = next((fields[name] for name in DEVICE_NAMES if name in fields), None)
    # As the rows will be called once they are typed: without blanks, numbers as their text.
    return bucket_of("" if device is None else str(device).strip())


def _as_json(body: object) -> str:
    try:
        text = json.dumps(body, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"a record cannot be written as JSON ({error}); none of the batch was accepted; send "
            "objects of texts, numbers, true, false and null"
        ) from error
    return text
