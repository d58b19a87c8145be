"""What the tables of devices promise, and which records are possible at all.

Rules of a household or a ward (alert above 120) are no contract: a record that breaks them is
stored. Here is only what no device can have measured.
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.rules import RowRule, required
from batch_assets.contracts.table import TableContract

MEASURE = pa.decimal128(5, 2)


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured value.

    Attributes:
        column: Name in every table of devices.
        type: Arrow type.
        lowest: Smallest possible value of one moment or day.
        highest: Largest possible one; whole numbers, which add up, may be seven times that in a
            week.
        names: What clients call it, besides the column's name.
    """

    column: str
    type: pa.DataType
    lowest: float
    highest: float
    names: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether fractions are refused."""
        return bool(pa.types.is_integer(self.type))


METRICS = (
    Metric("heart_rate_bpm", MEASURE, 0, 350, ("heart_rate", "heartRate", "hr")),
    Metric("spo2_pct", MEASURE, 0, 100, ("spo2", "SpO2", "blood_oxygen", "bloodOxygen")),
    Metric("temperature_celsius", MEASURE, 20, 50, ("temperature", "body_temperature", "bodyTemp")),
    Metric(
        "systolic_mmhg",
        MEASURE,
        20,
        350,
        ("systolic", "pressure_high", "blood_pressure_systolic", "pressureHigh"),
    ),
    Metric(
        "diastolic_mmhg",
        MEASURE,
        10,
        250,
        ("diastolic", "pressure_low", "blood_pressure_diastolic", "pressureLow"),
    ),
    Metric("steps", pa.int32(), 0, 200_000, ("step", "step_count", "stepCount")),
    Metric("sleep_minutes", pa.int32(), 0, 1_440, ("sleep", "sleepMinutes")),
)


_IS_NAMED = RowRule(
    name="missing_value",
    columns=("device_sn",),
    broken=lambda batch: pc.or_kleene(
        pc.is_null(batch.column("device_sn")), pc.equal(batch.column("device_sn"), "")
    ),
    expected="the serial number of a device",
    hint="fill device_sn",
)

# An index refuses a key of more than 2,704 bytes, and with it everything beside it.
_LONGEST_NAME = 200
_NAME_IS_SHORT = RowRule(
    name="name_too_long",
    columns=("device_sn",),
    broken=lambda batch: pc.greater(pc.utf8_length(batch.column("device_sn")), _LONGEST_NAME),
    expected=f"at most {_LONGEST_NAME} characters",
    hint="send the serial number alone",
)

RECORDS = TableContract(
    target="devices.records",
    columns=pa.schema(
        [
            ("device_sn", pa.string()),
            ("measured_at", pa.timestamp("us", "UTC")),
            *((metric.column, metric.type) for metric in METRICS),
        ]
    ),
    key=("device_sn", "measured_at"),
    disposition=Disposition.MERGE,
    rules=(_IS_NAMED, _NAME_IS_SHORT, required("measured_at")),
)


def _period_contract(table: str, period: str) -> TableContract:
    return TableContract(
        target=table,
        columns=pa.schema(
            [
                ("device_sn", pa.string()),
                (period, pa.date32()),
                *((metric.column, metric.type) for metric in METRICS),
            ]
        ),
        key=("device_sn", period),
        disposition=Disposition.MERGE,
        rules=(_IS_NAMED, _NAME_IS_SHORT, required(period)),
    )


DAILY = _period_contract("devices.daily_supplied", "day")
WEEKLY = _period_contract("devices.weekly_supplied", "week")
