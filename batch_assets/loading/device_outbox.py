"""The outbox of devices: which messages are due, and what became of them; nothing here commits.

Messages are put in by `device_alerts.py`, and sent by `ingest/devices/relay.py`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
import pyarrow as pa

from batch_assets.contracts.batch import RejectedRow, Violation
from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.loading.dead_letters import write_dead_letters
from batch_assets.loading.loads import LoadContext
from batch_assets.postgres.sql_files import read_query

OUTBOX = TableContract(
    target="devices.outbox",
    columns=pa.schema([("outbox_id", pa.int64())]),
    key=("outbox_id",),
    disposition=Disposition.APPEND,
)


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent once, or again with the same id.

    Attributes:
        outbox_id: Rises with the commits of one device.
        kind: `state`, `alert_opened` or `alert_resolved`.
        payload: JSON as PostgreSQL gives it back.
        load_id: The load that wrote the record.
        created_at: Start of the transaction that wrote it.
    """

    outbox_id: int
    device_sn: str
    kind: str
    payload: object
    load_id: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Refusals:
    """How long a refused message is tried again.

    Attributes:
        attempts_max: Then it is a dead letter.
        first_wait_seconds: After the first refusal; doubled after each, plus up to half of it.
        wait_seconds_max: At most.
    """

    attempts_max: int = 8
    first_wait_seconds: float = 1.0
    wait_seconds_max: float = 300.0


def list_due_destinations(conn: psycopg.Connection, destinations: Sequence[str]) -> list[str]:
    """Those of these destinations that something waits for."""
    rows = conn.execute(
        "SELECT d.destination FROM unnest(%s::text[]) AS d (destination) WHERE EXISTS ("
        "SELECT FROM devices.outbox AS o "
        "WHERE o.destination = d.destination AND o.dead_at IS NULL)",
        (list(destinations),),
    ).fetchall()
    return [destination for (destination,) in rows]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one destination.

    Attributes:
        waiting: Messages that are not dead, those held back among them.
        held_back: That were refused, and are tried again.
        dead: That were refused too often.
        oldest_seconds: How long the oldest one waits; None where none does.
        last_error: Why the newest refused one was refused.
    """

    destination: str
    waiting: int
    held_back: int
    dead: int
    oldest_seconds: float | None
    last_error: str | None


def read_backlogs(conn: psycopg.Connection) -> list[Backlog]:
    """What waits, by destination; those that nothing waits for are absent."""
    rows = conn.execute(read_query("read_device_backlogs")).fetchall()
    return [Backlog(*row) for row in rows]


def read_due_messages(
    conn: psycopg.Connection, destination: str, buckets: Sequence[int], limit: int
) -> list[Message]:
    """The oldest messages of some buckets, without devices that wait for another attempt."""
    rows = conn.execute(
        read_query("read_due_device_messages"),
        {"destination": destination, "buckets": list(buckets), "limit": limit},
    ).fetchall()
    return [Message(*row) for row in rows]


def delete_sent_messages(conn: psycopg.Connection, outbox_ids: Sequence[int]) -> None:
    """Take out what was sent."""
    conn.execute("DELETE FROM devices.outbox WHERE outbox_id = ANY (%s)", (list(outbox_ids),))


def hold_back_refused(
    conn: psycopg.Connection,
    destination: str,
    refused: Mapping[int, str],
    messages: Sequence[Message],
    refusals: Refusals,
) -> int:
    """Note why messages were refused; those refused too often become dead letters.

    Args:
        refused: Reason by outbox_id.
        messages: Those of this attempt, the refused ones among them.

    Returns:
        How many are dead now. They stay in the outbox, out of the way, for `revive_dead_messages`.
    """
    dead = {
        outbox_id
        for (outbox_id,) in conn.execute(
            read_query("hold_back_device_messages"),
            {
                "ids": list(refused),
                "reasons": [reason[:500] for reason in refused.values()],
                "attempts_max": refusals.attempts_max,
                "first_wait_seconds": refusals.first_wait_seconds,
                "wait_seconds_max": refusals.wait_seconds_max,
            },
        ).fetchall()
    }
    for message in messages:
        if message.outbox_id in dead:
            letter = _letter(message, destination, refused[message.outbox_id])
            context = LoadContext(OUTBOX, Scope(), None)
            write_dead_letters(conn, context, Window(destination), message.load_id, [letter])
    return len(dead)


def _letter(message: Message, destination: str, reason: str) -> RejectedRow:
    violation = Violation(
        "not_delivered",
        "payload",
        reason[:500],
        f"a message that {destination} takes",
        "mend what refuses it, then run batch-assets devices relay --retry-dead",
    )
    original = {
        "device_sn": message.device_sn,
        "kind": message.kind,
        "payload": json.dumps(message.payload, ensure_ascii=False),
    }
    return RejectedRow("outbox", message.outbox_id, (violation,), original)


def revive_dead_messages(conn: psycopg.Connection) -> int:
    """Let dead messages wait again, as new ones: after those that were sent in the meantime.

    Returns:
        How many.
    """
    row = conn.execute(read_query("revive_device_messages")).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers
    return int(row[0])
