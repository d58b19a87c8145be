"""Days and weeks of devices: right whatever comes late, twice or corrected; supplied values win."""

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import psycopg
import pytest

from batch_assets.ingest.devices.effects import DeviceEffects
from batch_assets.ingest.devices.parts import write_rows
from batch_assets.loading.batch_metrics import BatchClock
from batch_assets.sources.devices.bodies import read_bodies
from batch_assets_tests.ingest.devices.landing import MIDNIGHT, ask

RATE, TEMPERATURE, STEPS = "heart_rate_bpm", "temperature_celsius", "steps"
FIELDS = (RATE, TEMPERATURE, STEPS)
Values = dict[str, Decimal | None]
Key = tuple[str, date]
CENT = Decimal("0.01")


def write(url: str, bodies: Iterable[Mapping[str, object]]) -> None:
    lines = [(number, json.dumps(one, default=float)) for number, one in enumerate(bodies, 1)]
    with psycopg.connect(url) as conn:
        rows = read_bodies(lines, len(lines), "test", "UTC")
        assert not rows.rejected
        write_rows(conn, 1, rows.rows, BatchClock(), DeviceEffects())


@dataclass
class Model:
    """Records, and what devices say of days and weeks; rolled up anew each time it is asked."""

    records: dict[tuple[str, int], Values] = field(default_factory=dict)
    daily: dict[Key, Values] = field(default_factory=dict)
    weekly: dict[Key, Values] = field(default_factory=dict)

    def days(self) -> dict[Key, tuple[int, Values, set[str]]]:
        members: dict[Key, list[Values]] = defaultdict(list)
        for (device, minute), values in self.records.items():
            members[device, (MIDNIGHT + timedelta(minutes=minute)).date()].append(values)
        rolled = {key: _rolled(of_day, sum_steps=False) for key, of_day in members.items()}
        return _merged(
            {key: (len(members[key]), values) for key, values in rolled.items()}, self.daily
        )

    def weeks(self) -> dict[Key, tuple[int, Values, set[str]]]:
        members: dict[Key, list[tuple[int, Values]]] = defaultdict(list)
        for (device, day), (count, values, _) in self.days().items():
            members[device, day - timedelta(days=day.weekday())].append((count, values))
        rolled = {
            key: (
                sum(count for count, _ in of_week),
                _rolled([values for _, values in of_week], sum_steps=True),
            )
            for key, of_week in members.items()
        }
        return _merged(rolled, self.weekly)


def _rolled(rows: list[Values], *, sum_steps: bool) -> Values:
    found: Values = {}
    for name in FIELDS:
        given = [row[name] for row in rows if row[name] is not None]
        if not given:
            found[name] = None
        elif name == STEPS:
            found[name] = sum(given) if sum_steps else max(given)
        else:
            found[name] = (sum(given) / Decimal(len(given))).quantize(CENT, ROUND_HALF_UP)
    return found


def _merged(
    rolled: Mapping[Key, tuple[int, Values]], supplied: Mapping[Key, Values]
) -> dict[Key, tuple[int, Values, set[str]]]:
    found = {}
    for key in {*rolled, *supplied}:
        count, values = rolled.get(key, (0, dict.fromkeys(FIELDS)))
        said = supplied.get(key, dict.fromkeys(FIELDS))
        pairs = {name: (said[name], values[name]) for name in FIELDS}
        differing = {name for name, (a, b) in pairs.items() if a is not None and b not in (None, a)}
        merged = {name: b if a is None else a for name, (a, b) in pairs.items()}
        found[key] = (count, merged, differing)
    return found


def stored(url: str, view: str, period: str) -> dict[Key, tuple[int, Values, set[str]]]:
    rows = ask(
        url,
        f"SELECT device_sn, {period}, record_count, {', '.join(FIELDS)}, differing FROM {view}",
    )
    return {
        (device, day): (count, dict(zip(FIELDS, values, strict=True)), set(differing))  # type: ignore[misc, arg-type, call-overload]
        for device, day, count, *values, differing in rows
    }


@pytest.mark.parametrize("seed", range(3))
def test_days_and_weeks_are_those_of_a_plain_model(postgres: str, seed: int) -> None:
    chance = random.Random(seed)
    model = Model()

    def some_values() -> Values:
        return {
            RATE: chance.choice([None, Decimal(chance.randrange(40, 200))]),
            TEMPERATURE: chance.choice([None, Decimal(chance.randrange(3500, 4100)) / 100]),
            STEPS: chance.choice([None, Decimal(chance.randrange(5))]),
        }

    def period_body(device: str, kind: str, name: str, day: date) -> dict[str, object]:
        values = some_values()
        (model.daily if kind == "daily_data" else model.weekly)[device, day] = values
        return {"device_sn": device, kind: {name: day.isoformat(), **values}}

    for _ in range(12):
        bodies: list[dict[str, object]] = []
        for _ in range(chance.randrange(1, 40)):
            # Few moments of twelve days around two Mondays: late, twice and corrected are usual.
            device, minute = f"D{chance.randrange(3)}", 360 * chance.randrange(48)
            values = model.records[device, minute] = some_values()
            at = (MIDNIGHT + timedelta(minutes=minute)).isoformat()
            bodies.append({"device_sn": device, "main_data": {"measured_at": at, **values}})
        day = MIDNIGHT.date() + timedelta(days=chance.randrange(12))
        monday = day - timedelta(days=day.weekday())
        bodies.append(period_body(f"D{chance.randrange(4)}", "daily_data", "day", day))
        bodies.append(period_body(f"D{chance.randrange(4)}", "weekly_data", "week", monday))
        write(postgres, bodies)

    assert stored(postgres, "devices.daily", "day") == model.days()
    assert stored(postgres, "devices.weekly", "week") == model.weeks()
    assert any(differing for _, _, differing in model.days().values())
    assert any(differing for _, _, differing in model.weeks().values())
    newest = {
        device: max(minute for name, minute in model.records if name == device)
        for device in {name for name, _ in model.records}
    }
    assert {
        (device, at, rate)
        for device, at, rate in ask(
            postgres, "SELECT device_sn, measured_at, heart_rate_bpm FROM devices.latest"
        )
    } == {
        (device, MIDNIGHT + timedelta(minutes=minute), model.records[device, minute][RATE])
        for device, minute in newest.items()
    }
