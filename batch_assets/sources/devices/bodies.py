"""Bodies as clients post them, one JSON object each -> raw columns of each kind.

A body is an object with `device_sn` and any of `main_data`, `daily_data`, `weekly_data`; or the
fields of one of them beside `device_sn`. What the contract has no column for is kept as `extra`,
`redis_data`, `config_info` and `enable_alerts` with it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from batch_assets.contracts.batch import Original, RejectedRow, Violation
from batch_assets.sources.devices.contract import METRICS
from batch_assets.sources.devices.parse import (
    DEVICE_NAMES,
    MOMENT_NAMES,
    RawRows,
    RecordKind,
    type_rows,
)
from batch_assets.sources.devices.plain_bodies import PART_OF_KIND, read_plain
from batch_assets.sources.devices.typed import column_of

_PARTS = {name: kind for kind, name in PART_OF_KIND.items()}
_BESIDE = ("redis_data", "config_info", "enable_alerts")
_METRIC_OF = {name: m.column for m in METRICS for name in (m.column, *m.names)}


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


# Made once: json.loads makes a decoder for each line as soon as it is told about constants.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


@dataclass(frozen=True, slots=True)
class DeviceBatch:
    """Some consecutive rows of a file, typed.

    Attributes:
        last_row: The batch ends with this row of the file, from 1.
        read_rows: Rows for tables that the reader met; a body with two kinds of data is two.
        rows: By kind, in the order of the file; an absent kind has no rows.
        rejected: Rows that could not be typed.
    """

    last_row: int
    read_rows: int
    rows: Mapping[RecordKind, pa.RecordBatch]
    rejected: tuple[RejectedRow, ...] = ()


@dataclass(slots=True)
class _Columns:
    """Values of one kind, column by column, as they come."""

    kind: RecordKind
    numbers: list[int] = field(default_factory=list)
    devices: list[object] = field(default_factory=list)
    moments: list[object] = field(default_factory=list)
    metrics: dict[str, list[object]] = field(default_factory=dict)
    extras: list[str | None] = field(default_factory=list)
    bodies: list[Mapping[str, object]] = field(default_factory=list)

    def add(
        self, number: int, device: object, fields: Mapping[str, object], body: Mapping[str, object]
    ) -> None:
        moment: object = None
        extra: dict[str, object] = {}
        place = len(self.numbers)
        moment_names = MOMENT_NAMES[self.kind]
        for name, value in fields.items():
            column = _METRIC_OF.get(name)
            if column is not None:
                values = self.metrics.setdefault(column, [])
                values.extend([None] * (place - len(values)))
                if len(values) == place:
                    values.append(value)
                elif value is not None:
                    # The same metric under two names: the first one counts, the other is kept.
                    extra[name] = value
            elif moment is None and name in moment_names:
                moment = value
            elif name not in DEVICE_NAMES:
                extra[name] = value
        if moment is None and fields is not body:
            moment = next((body[name] for name in moment_names if name in body), None)
        self.numbers.append(number)
        self.devices.append(device)
        self.moments.append(moment)
        self.extras.append(_as_json(extra) if extra else None)
        # Of a body with several kinds of data, each kind is a dead letter of its own.
        sent = body if fields is body else {"device_sn": device, PART_OF_KIND[self.kind]: fields}
        self.bodies.append(sent)

    def raw(self) -> RawRows:
        length = len(self.numbers)
        return RawRows(
            kind=self.kind,
            device_sn=column_of(self.devices),
            moment=column_of(self.moments),
            metrics={
                name: column_of(values + [None] * (length - len(values)))
                for name, values in self.metrics.items()
            },
            extra=pa.array(self.extras, pa.string()),
            row_number=pa.array(self.numbers, pa.int64()),
            original=lambda index: original_of(self.bodies[index]),
        )


def _as_json(extra: Mapping[str, object]) -> str:
    try:
        return json.dumps(extra, ensure_ascii=False, allow_nan=False)
    except ValueError:
        # 1e999 is a number to JSON and infinity to us; its text is kept.
        return json.dumps({name: str(value) for name, value in extra.items()}, ensure_ascii=False)


def read_bodies(
    lines: Sequence[tuple[int, str | bytes]], last_row: int, file: str, zone: str
) -> DeviceBatch:
    """Type bodies.

    Args:
        lines: Row number and JSON text of each.
        zone: Of times that name none.
    """
    raw, rejected = read_plain(lines), list[RejectedRow]()
    read = sum(len(rows.row_number) for rows in raw or ())
    if raw is None:
        raw, rejected, read = _read_carefully(lines, file)
    typed = {rows.kind: type_rows(rows, file, zone) for rows in raw}
    return DeviceBatch(
        last_row,
        read,
        {kind: rows.rows for kind, rows in typed.items()},
        (*rejected, *(row for rows in typed.values() for row in rows.rejected)),
    )


def _read_carefully(
    lines: Sequence[tuple[int, str | bytes]], file: str
) -> tuple[list[RawRows], list[RejectedRow], int]:
    columns = {kind: _Columns(kind) for kind in RecordKind}
    rejected: list[RejectedRow] = []
    read = 0
    for number, line in lines:
        body = _parse(line)
        parts = _parts_of(body) if body is not None else []
        read += max(1, len(parts))
        if body is None or not parts:
            rejected.append(_refuse(file, number, line, body))
            continue
        device = next((body[name] for name in DEVICE_NAMES if name in body), None)
        for kind, fields in parts:
            columns[kind].add(number, device, fields, body)
    return [values.raw() for values in columns.values() if values.numbers], rejected, read


def _parse(line: str | bytes) -> Mapping[str, object] | None:
    try:
        text = line.decode("utf-8") if isinstance(line, bytes) else line
        body = _DECODER.decode(text)
        if "\\u" in text:
            # Half of a pair of escapes is no character: nothing could store it.
            json.dumps(body, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _parts_of(body: Mapping[str, object]) -> list[tuple[RecordKind, Mapping[str, object]]]:
    """The kinds of data in a body; none where it has none, or one that is no object."""
    if not any(name in body for name in _PARTS):
        for kind, names in MOMENT_NAMES.items():
            if any(name in body for name in names):
                return [(kind, body)]
        return []
    parts: list[tuple[RecordKind, Mapping[str, object]]] = []
    for name, kind in _PARTS.items():
        fields = body.get(name)
        if isinstance(fields, dict) and fields:
            parts.append((kind, fields))
        elif fields:
            return []
    beside = {
        name: value
        for name in _BESIDE
        # By identity: 1 is a value to keep, and equals True.
        if (value := body.get(name)) is not None and value is not True and value != {}
    }
    if parts and beside:
        parts[0] = (parts[0][0], {**parts[0][1], **beside})
    return parts


def _refuse(
    file: str, number: int, line: str | bytes, body: Mapping[str, object] | None
) -> RejectedRow:
    if body is None:
        original = original_of_line(line)
        seen = (original.get("line") or "")[:200]
        violation = Violation(
            "not_a_json_object", "", seen, "one JSON object a line", "mend the line"
        )
        return RejectedRow(file, number, (violation,), original)
    violation = Violation(
        "no_data",
        "",
        ", ".join(body)[:200],
        "main_data, daily_data or weekly_data as an object, or measured_at, day or week",
        "send at least one kind of data",
    )
    return RejectedRow(file, number, (violation,), original_of(body))


def original_of_line(line: str | bytes) -> Original:
    """A line as a dead letter keeps it: by its outer names, or as text if it is no object."""
    body = _parse(line)
    if body is not None:
        return original_of(body)
    text = line.decode("utf-8", "backslashreplace") if isinstance(line, bytes) else line
    return {"line": text.rstrip("\r\n")}


def original_of(body: Mapping[str, object]) -> Original:
    """A body by its outer names, each value as text or JSON."""
    return {
        name: value
        if value is None or isinstance(value, str)
        else json.dumps(value, ensure_ascii=False)
        for name, value in body.items()
    }
