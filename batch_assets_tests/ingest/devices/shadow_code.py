"""Functions as users write them, for records of devices."""

from decimal import Decimal
from threading import Event

import pyarrow as pa
import pyarrow.compute as pc

LET_GO = Event()


def hanging(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Returns when somebody lets it go."""
    LET_GO.wait(60)
    return rows


def same(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.take(pa.array(reversed(range(rows.num_rows))))


def capped(rows: pa.RecordBatch) -> pa.RecordBatch:
    """No heart rate above 100."""
    place = rows.schema.get_field_index("heart_rate_bpm")
    rates = rows.column(place)
    cap = pa.scalar(Decimal(100), rates.type)
    is_high = pc.fill_null(pc.greater(rates, cap), False)
    return rows.set_column(place, rows.schema.field(place), pc.if_else(is_high, cap, rates))


def without_fast(rows: pa.RecordBatch) -> pa.RecordBatch:
    rates = rows.column("heart_rate_bpm")
    return rows.filter(pc.less(rates, pa.scalar(Decimal(100), rates.type)))


def broken(rows: pa.RecordBatch) -> pa.RecordBatch:
    raise KeyError("blood_sugar")


def broken_by_fast(rows: pa.RecordBatch) -> pa.RecordBatch:
    if without_fast(rows).num_rows < rows.num_rows:
        raise ValueError("too fast")
    return rows


def to_one_device(rows: pa.RecordBatch) -> pa.RecordBatch:
    names = pa.array(["X"] * rows.num_rows)
    return rows.set_column(0, rows.schema.field(0), names)
