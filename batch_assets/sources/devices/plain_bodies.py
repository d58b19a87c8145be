"""The common case of bodies, read by Arrow in a fifth of the time that Python takes.

Bodies are plain where every line is one object with nothing but fields of the contract, of the
contract's types. Anything else (a text for a number, a field more, a broken line) makes the whole
block not plain, and bodies.py reads it as carefully as it deserves.
"""

import json
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.batch import Original
from batch_assets.sources.devices.contract import METRICS
from batch_assets.sources.devices.parse import MOMENT_NAMES, RawRows, RecordKind

PART_OF_KIND: Mapping[RecordKind, str] = {
    RecordKind.RECORDS: "main_data",
    RecordKind.DAILY: "daily_data",
    RecordKind.WEEKLY: "weekly_data",
}
Lines = Sequence[tuple[int, str | bytes]]
"""Row number and JSON text of each body."""
_METRIC_NAMES = {metric.column: (metric.column, *metric.names) for metric in METRICS}
_OUTER: Mapping[str, pa.DataType] = {"device_sn": pa.string(), "enable_alerts": pa.bool_()}
_FIELDS: Mapping[str, Mapping[str, pa.DataType]] = {
    part: {
        **dict.fromkeys(MOMENT_NAMES[kind], pa.string()),
        **{name: pa.float64() for names in _METRIC_NAMES.values() for name in names},
    }
    for kind, part in PART_OF_KIND.items()
}
# Bodies that are looked at to learn which names a client uses.
_LOOKED_AT = 16


def read_plain(lines: Lines) -> list[RawRows] | None:
    """Raw columns of each kind of data; None where a line is not plain.

    Args:
        lines: Row number and text of each.
    """
    if not lines:
        return []
    table = _parse(b"".join([_as_bytes(line) for _, line in lines]), _likely_schema(lines))
    if table is None or table.num_rows != len(lines):
        return None
    if "enable_alerts" in table.schema.names and (
        pc.any(pc.invert(table.column("enable_alerts"))).as_py()
    ):
        # Said on purpose: it is kept with the record.
        return None
    numbers = pa.array([number for number, _ in lines], pa.int64())
    has_data = None
    found: list[RawRows] = []
    for kind, part in PART_OF_KIND.items():
        if part not in table.schema.names:
            continue
        is_sent = table.column(part).is_valid()
        has_data = is_sent if has_data is None else pc.or_(has_data, is_sent)
        if not pc.any(is_sent).as_py():
            continue
        raw = _raw(kind, table.filter(is_sent), numbers.filter(is_sent), lines)
        if raw is None:
            return None
        found.append(raw)
    return found if has_data is not None and pc.all(has_data).as_py() else None


def _as_bytes(line: str | bytes) -> bytes:
    raw = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    return raw if raw.endswith(b"\n") else raw + b"\n"


def _likely_schema(lines: Lines) -> pa.Schema:
    """Names that some of the bodies use.

    Arrow spends three quarters of its time on names that nobody uses, and clients use few.
    """
    seen: dict[str, set[str]] = {"device_sn": set()}
    for _, line in lines[:: max(1, len(lines) // _LOOKED_AT)]:
        try:
            body = json.loads(line)
        except (ValueError, RecursionError):
            continue
        for name, value in body.items() if isinstance(body, dict) else ():
            seen.setdefault(name, set()).update(value if isinstance(value, dict) else ())
    return _schema(seen)


def _schema(names: Mapping[str, Collection[str]] | None = None) -> pa.Schema:
    """The columns of bodies; those of all possible names if none are given."""

    def is_asked(name: str, part: str | None = None) -> bool:
        return names is None or name in (names if part is None else names[part])

    outer = [(name, kind) for name, kind in _OUTER.items() if is_asked(name)]
    parts = [
        (part, pa.struct([(name, kind) for name, kind in fields.items() if is_asked(name, part)]))
        for part, fields in _FIELDS.items()
        if is_asked(part)
    ]
    return pa.schema([*outer, *parts])


def _parse(block: bytes, likely: pa.Schema) -> pa.RecordBatch | None:
    try:
        # Arrow does not look whether its text is text.
        block.decode("utf-8")
    except UnicodeDecodeError:
        return None
    found = _parse_as(block, likely)
    return found if found is not None else _parse_as(block, _schema())


def _parse_as(block: bytes, schema: pa.Schema) -> pa.RecordBatch | None:
    from pyarrow import json as arrow_json

    try:
        table = arrow_json.read_json(
            pa.BufferReader(block),
            arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
    except pa.ArrowInvalid:
        return None
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else None


def _raw(
    kind: RecordKind,
    rows: pa.RecordBatch,
    numbers: pa.Array,
    lines: Lines,
) -> RawRows | None:
    part = rows.column(PART_OF_KIND[kind])
    moment = _only(part, MOMENT_NAMES[kind])
    if moment is None or moment.null_count:
        return None
    metrics = {}
    for column, names in _METRIC_NAMES.items():
        used = [name for name in names if _is_used(part, name)]
        if len(used) > 1:
            return None
        if used:
            metrics[column] = pc.struct_field(part, used[0])
    first = lines[0][0]
    by_number = dict(lines) if lines[-1][0] - first + 1 != len(lines) else None

    def original(index: int) -> Original:
        number = numbers[index].as_py()
        line = lines[number - first][1] if by_number is None else by_number[number]
        body = json.loads(line)
        fields = json.dumps(body[PART_OF_KIND[kind]], ensure_ascii=False)
        return {"device_sn": body.get("device_sn"), PART_OF_KIND[kind]: fields}

    return RawRows(
        kind=kind,
        device_sn=rows.column("device_sn"),
        moment=moment,
        metrics=metrics,
        extra=pa.nulls(len(numbers), pa.string()),
        row_number=numbers,
        original=original,
    )


def _only(part: pa.StructArray, names: Sequence[str]) -> pa.Array | None:
    """The one of several names that is used; None where it is not one."""
    used = [name for name in names if _is_used(part, name)]
    return pc.struct_field(part, used[0]) if len(used) == 1 else None


def _is_used(part: pa.StructArray, name: str) -> bool:
    if part.type.get_field_index(name) < 0:
        return False
    values = pc.struct_field(part, name)
    return bool(values.null_count < len(values))
