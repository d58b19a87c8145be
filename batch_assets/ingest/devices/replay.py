"""Corrected device records back into their tables, under the lease of the shard that has them now.

A replay is a load of its own: the records that were sent are read again, with what a person gave
instead. Records have no window that they could have moved on in; one that a newer load has written
is not overwritten.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pyarrow as pa
from psycopg import sql

from batch_assets.contracts.batch import SourceCell, Violation
from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.contracts.table import Scope, Window
from batch_assets.errors import StaleAnswer
from batch_assets.ingest.corrections.answered import (
    Pending,
    find_windows,
    pending_of,
    reasons_to_drop,
)
from batch_assets.ingest.corrections.still_wrong import write_still_wrong
from batch_assets.ingest.corrections.workbook import CorrectedWorkbook, WorkbookReplay
from batch_assets.ingest.devices.effects import DeviceEffects
from batch_assets.ingest.devices.parts import write_rows
from batch_assets.ingest.devices.shards import StoredMap, read_shard_map, require_map_version
from batch_assets.loading.batch_metrics import BatchClock
from batch_assets.loading.failures import as_refusal
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.replay import ReplayReport
from batch_assets.loading.replay_answers import AnsweredLetters, ReplayAnswers
from batch_assets.loading.report import LoadState
from batch_assets.loading.streams import Part, Stream, StreamOptions, open_stream
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.names import table_identifier
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.devices.bodies import read_bodies
from batch_assets.sources.devices.contract import DAILY, METRICS, RECORDS, WEEKLY
from batch_assets.sources.devices.parse import CONTRACTS, DEVICE_NAMES, MOMENT_NAMES, RecordKind
from batch_assets.sources.devices.shards import bucket_of
from batch_assets.sources.spreadsheets.answers import Answer
from batch_assets.sources.spreadsheets.correctable import CorrectableRow, shown_given
from batch_assets.sources.spreadsheets.corrections import CorrectedRow

TARGET = RECORDS.target
_LINE = "line"
_COLUMNS = {
    **{name: metric.column for metric in METRICS for name in (metric.column, *metric.names)},
    **{
        name: CONTRACTS[kind].columns.names[1]
        for kind, names in MOMENT_NAMES.items()
        for name in names
    },
    **dict.fromkeys(DEVICE_NAMES, "device_sn"),
}


@dataclass(frozen=True, slots=True)
class DeviceReplayOptions:
    """How corrected records are read and written.

    Attributes:
        zone: Of times that name none.
        shards: Where no map is stored yet.
        effects: Alerts and messages that follow from records.
        stream: Leases and retries.
    """

    zone: str = "UTC"
    shards: int = 4
    effects: DeviceEffects = field(default_factory=DeviceEffects)
    stream: StreamOptions = field(default_factory=StreamOptions)


def correctable_record(letter: DeadLetter) -> CorrectableRow:
    """A dead letter with what was sent, name by name; data of a body within a body as JSON."""
    layout = tuple(
        SourceCell(name, "text", _COLUMNS.get(name, ""), None, place)
        for place, name in enumerate(letter.original)
    )
    given = {name: shown_given(text, kind) for name, (text, kind) in letter.corrected.items()}
    return CorrectableRow(letter, layout, letter.original, {**letter.original, **given})


def replay_records(
    connect: Connector,
    workbook: CorrectedWorkbook,
    *,
    who: str,
    options: DeviceReplayOptions,
    error_folder: Path,
) -> WorkbookReplay:
    """Type corrected records again, and write those that are right now.

    Args:
        connect: Opens a connection.
        workbook: The answers.
        who: Whose they are.
        options: How they are read and written.
        error_folder: Where workbooks of what is still wrong go.

    Raises:
        StaleAnswer: Rows are answered otherwise, or a newer load has written the same record;
            nothing of their shard was changed.
        LeaseHeld: Somebody else is writing the shard, for longer than we wait.
        ShardMapChanged: The number of shards changed meanwhile; replay again.
    """
    replay = _Replay(connect, workbook, who, options)
    with translating_errors(), connect() as conn:
        totals = find_windows(conn, workbook, TARGET, "the records of devices")
        stored = read_shard_map(conn, options.shards)
        pending = Counter(
            replay.shard_of(row, stored)
            for answers in workbook.batches()
            for row, _ in replay.pending_of(conn, answers)
        )
    replays, errors = [], []
    for shard in sorted(pending):
        report = replay.run(shard, stored)
        replays.append(report)
        if report.refused:
            with translating_errors(), connect() as conn:
                path = write_still_wrong(
                    conn, TARGET, report.load_id, error_folder, correctable_record
                )
            errors += [path] if path else []
    answered = sum(totals.values()) - pending.total()
    return WorkbookReplay(workbook.file, tuple(replays), answered, tuple(errors))


@dataclass(frozen=True, slots=True)
class _Replay:
    connect: Connector
    workbook: CorrectedWorkbook
    who: str
    options: DeviceReplayOptions

    def pending_of(
        self, conn: psycopg.Connection, answers: list[Answer], *, is_locking: bool = False
    ) -> list[Pending]:
        """Rows that are still to be answered."""
        return pending_of(
            conn, self.workbook.file, answers, TARGET, correctable_record, is_locking=is_locking
        )

    def shard_of(self, row: CorrectedRow, stored: StoredMap) -> int:
        """The shard that has the device of a row, as it is named now."""
        body = _body_of(row)
        device = next((body[name] for name in DEVICE_NAMES if name in body), None)
        return stored.shards[bucket_of("" if device is None else str(device).strip())]

    def run(self, shard: int, stored: StoredMap) -> ReplayReport:
        """Replay the rows of one shard, a transaction for each thousand answers."""
        window = Window(f"shard-{shard}")
        counts: Counter[str] = Counter()
        contracts = (RECORDS, DAILY, WEEKLY)
        with open_stream(self.connect, contracts, Scope(), window, self.options.stream) as stream:
            for answers in self.workbook.batches():
                counts += self._publish(stream, shard, answers, stored)
            metrics = {"replay": {**counts, "who": self.who}}
            report = stream.close(LoadState.SUCCESS, reason="replay", metrics=metrics)
        return ReplayReport(
            stream.load_id,
            TARGET,
            window,
            report.ledger,
            fixed=counts["fixed"],
            dropped=counts["dropped"],
            refused=counts["refused"],
        )

    def _publish(
        self, stream: Stream, shard: int, answers: list[Answer], stored: StoredMap
    ) -> Counter[str]:
        counts: Counter[str] = Counter()

        def write(conn: psycopg.Connection) -> Part:
            counts.clear()
            require_map_version(conn, stored.version)
            found = self.pending_of(conn, answers, is_locking=True)
            rows = [pair for pair in found if self.shard_of(pair[0], stored) == shard]
            ledger = self._write_rows(conn, stream, rows, counts) if rows else Ledger()
            return Part(ledger)

        try:
            stream.publish(write)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            refusal = as_refusal(stream.resource, error, stream.context.contract)
            raise refusal from refusal.__cause__
        return counts

    def _write_rows(
        self, conn: psycopg.Connection, stream: Stream, rows: list[Pending], counts: Counter[str]
    ) -> Ledger:
        fixing = [row for row, answer in rows if answer.action == "fix"]
        typed, refused = _type(fixing, self.workbook.file, self.options.zone)
        _check_not_newer(conn, typed, fixing, self.workbook.file)
        ledger = write_rows(conn, stream.load_id, typed, BatchClock(), self.options.effects)
        dropped = reasons_to_drop(rows, self.workbook.file)
        fixed = [row.dead_letter_id for row in fixing if row.dead_letter_id not in refused]
        piece = AnsweredLetters(
            rows=pa.RecordBatch.from_pylist([]),
            letter_ids=fixed,
            read_load_ids=[],
            refused=refused,
            dropped=dropped,
            given={row.dead_letter_id: row.given for row, _ in rows},
            sheets={},
        )
        answers = ReplayAnswers(refused, dropped, fixed, [piece], stream.context.contract)
        self._answer(conn, stream.load_id, rows, answers)
        counts["fixed"] += len(fixed)
        counts["dropped"] += len(dropped)
        counts["refused"] += len(refused)
        return ledger + Ledger(
            read=len(refused) + len(dropped), rejected=len(refused), skipped=len(dropped)
        )

    def _answer(
        self,
        conn: psycopg.Connection,
        load_id: int,
        rows: list[Pending],
        answers: ReplayAnswers,
    ) -> None:
        for values in answers.arrays():
            conn.execute(
                read_query("answer_dead_letters"),
                {
                    **values,
                    "who": self.who,
                    "answered_from": self.workbook.file,
                    "load_id": load_id,
                },
            )
        # What is still wrong is counted by this load from now on.
        conn.execute(
            "UPDATE ops.dead_letters SET load_id = %s "
            "WHERE dead_letter_id = ANY (%s) AND state = 'open'",
            (load_id, [row.dead_letter_id for row, _ in rows]),
        )


def _type(
    rows: Sequence[CorrectedRow], file: str, zone: str
) -> tuple[Mapping[RecordKind, pa.RecordBatch], dict[int, tuple[Violation, ...]]]:
    """Rows to write, and what is wrong with the others; `row_number` is the place in `rows`."""
    if not rows:
        return {}, {}
    lines = [(number, _line_of(row)) for number, row in enumerate(rows)]
    batch = read_bodies(lines, len(rows), file, zone)
    refused = {reject.row: reject.violations for reject in batch.rejected}
    kept = {}
    for kind, typed in batch.rows.items():
        # Of a record with several kinds of data all are written, or none.
        keeps = [number not in refused for number in typed.column("row_number").to_pylist()]
        kept[kind] = typed.filter(pa.array(keeps, pa.bool_()))
    return kept, {rows[number].dead_letter_id: found for number, found in refused.items()}


def _line_of(row: CorrectedRow) -> str:
    """A corrected record as a client would have sent it."""
    texts = _texts_of(row)
    if set(texts) == {_LINE}:
        return texts[_LINE] or ""
    return json.dumps(_body_of(row), ensure_ascii=False)


def _texts_of(row: CorrectedRow) -> dict[str, str | None]:
    return {
        cell.name: shown_given(text, kind)
        for cell, (text, kind) in zip(row.row.layout, row.cells, strict=True)
    }


def _body_of(row: CorrectedRow) -> dict[str, object]:
    texts = _texts_of(row)
    if set(texts) == {_LINE}:
        found = _parsed(texts[_LINE])
        return found if isinstance(found, dict) else {}
    return {name: _value_of(text) for name, text in texts.items() if text is not None}


def _value_of(text: str) -> object:
    """Objects, lists and truth values as JSON has them; numbers are read from their text."""
    found = _parsed(text)
    return found if isinstance(found, dict | list | bool) else text


def _parsed(text: str | None) -> object:
    try:
        return json.loads(text or "")
    except ValueError:
        return None


def _check_not_newer(
    conn: psycopg.Connection,
    typed: Mapping[RecordKind, pa.RecordBatch],
    rows: Sequence[CorrectedRow],
    file: str,
) -> None:
    for kind, batch in typed.items():
        numbers = batch.column("row_number").to_pylist()
        letters = [rows[number].row.letter for number in numbers]
        moment = batch.schema.names[1]
        statement = read_query("find_newer_records").format(
            table=table_identifier(CONTRACTS[kind].target), moment=sql.Identifier(moment)
        )
        found = conn.execute(
            statement,
            {
                "ids": [letter.dead_letter_id for letter in letters],
                "load_ids": [letter.read_load_id for letter in letters],
                "devices": batch.column("device_sn").to_pylist(),
                "moments": batch.column(moment).to_pylist(),
            },
        ).fetchall()
        if found:
            named = ", ".join(str(number) for (number,) in found[:5])
            raise StaleAnswer(
                f"{file}: {len(found)} of the records have moved on (_id {named}): newer loads "
                "have written the same device and time, which the corrections would overwrite; "
                "nothing was changed; write drop into _action where the newer record is right, or "
                "send the right one anew"
            )
