"""Alerts about values: opened and resolved by the time of the device, whatever comes late."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg
import pytest

from batch_assets.ingest.devices.effects import DeviceEffects
from batch_assets.ingest.devices.parts import write_rows
from batch_assets.loading.batch_metrics import BatchClock
from batch_assets.sources.devices.alert_rules import AlertRule, AlertSettings
from batch_assets.sources.devices.bodies import read_bodies
from batch_assets_tests.ingest.devices.landing import MIDNIGHT, ask

Reading = tuple[str, int, int | None, bool]
"""Device, minute, heart rate, whether alerts are wanted."""
HIGH = AlertRule(name="fast", metric="heart_rate_bpm", max=120, severity="critical")
LASTING = AlertRule(name="lasting", metric="heart_rate_bpm", max=100, records=3, for_seconds=180)
ALERTS = "SELECT device_sn, rule, broken_since, opened_at, resolved_at FROM devices.alerts"


def at(minute: int) -> datetime:
    return MIDNIGHT + timedelta(minutes=minute)


def body(device: str, minute: int, rate: int | None, wanted: bool = True) -> dict[str, object]:
    data = {"measured_at": at(minute).isoformat(), "heart_rate": rate, "steps": 1}
    return {"device_sn": device, "main_data": data, "enable_alerts": wanted}


def write(
    conn: psycopg.Connection, bodies: Iterable[Mapping[str, object]], effects: DeviceEffects
) -> None:
    lines = [(number, json.dumps(one)) for number, one in enumerate(bodies, 1)]
    batch = read_bodies(lines, len(lines), "test", "UTC")
    assert not batch.rejected
    write_rows(conn, 1, batch.rows, BatchClock(), effects)
    conn.commit()


def effects_of(*rules: AlertRule, **groups: tuple[str, ...]) -> DeviceEffects:
    return DeviceEffects(AlertSettings(rules=rules, groups=groups))


def write_parts(url: str, effects: DeviceEffects, *parts: Sequence[Reading]) -> None:
    with psycopg.connect(url) as conn:
        for part in parts:
            write(conn, [body(*one) for one in part], effects)


def test_alert_opens_once_and_is_resolved_by_the_first_normal_value(postgres: str) -> None:
    part = [("A", 1, 130, True), ("A", 2, 140, True), ("B", 1, 80, True)]
    write_parts(postgres, effects_of(HIGH), part, [("A", 3, 150, True)], part)
    assert ask(postgres, ALERTS) == [("A", "fast", at(1), at(1), None)]

    write_parts(postgres, effects_of(HIGH), [("A", 4, None, True), ("A", 5, 120, True)])

    assert ask(postgres, ALERTS) == [("A", "fast", at(1), at(1), at(5))]
    assert ask(postgres, "SELECT severity, value, allowed, resolution FROM devices.alerts") == [
        ("critical", 130, "at most 120", "normal")
    ]


def test_late_records_neither_open_nor_resolve(postgres: str) -> None:
    write_parts(
        postgres,
        effects_of(HIGH),
        [("A", 10, 130, True), ("B", 10, 80, True)],
        [("A", 5, 70, True), ("B", 5, 140, True)],
    )

    assert ask(postgres, ALERTS) == [("A", "fast", at(10), at(10), None)]


def test_late_record_counts_if_no_newer_value_of_its_metric_is_known(postgres: str) -> None:
    write_parts(postgres, effects_of(HIGH), [("A", 10, None, True)], [("A", 5, 140, True)])

    assert ask(postgres, ALERTS) == [("A", "fast", at(5), at(5), None)]


def test_newest_record_that_is_corrected_is_judged_again(postgres: str) -> None:
    write_parts(
        postgres,
        effects_of(HIGH),
        [("A", 1, 130, True), ("B", 1, 130, True), ("B", 2, 80, True)],
        [("A", 1, 80, True), ("B", 2, 135, True)],
    )

    assert sorted(ask(postgres, ALERTS)) == [
        ("A", "fast", at(1), at(1), at(1)),
        ("B", "fast", at(1), at(1), at(2)),
        ("B", "fast", at(1), at(2), None),
    ]


def test_records_that_want_no_alerts_open_none(postgres: str) -> None:
    write_parts(postgres, effects_of(HIGH), [("A", 1, 130, False), ("B", 1, 130, True)])

    assert ask(postgres, ALERTS) == [("B", "fast", at(1), at(1), None)]


def test_rule_of_a_group_takes_the_place_of_the_general_one(postgres: str) -> None:
    ward = HIGH.model_copy(update={"max": 90.0, "group": "ward"})
    part = [(device, 1, 100, True) for device in ("W-1", "X-1")]

    write_parts(postgres, effects_of(HIGH, ward, ward=("W-*",)), part)

    assert ask(postgres, ALERTS) == [("W-1", "fast", at(1), at(1), None)]


def test_alert_whose_rule_is_gone_is_resolved_with_the_next_record(postgres: str) -> None:
    write_parts(postgres, effects_of(HIGH), [("A", 1, 130, True)])

    write_parts(postgres, effects_of(), [("A", 2, 130, True)])

    assert ask(postgres, "SELECT resolution FROM devices.alerts") == [("not_watched",)]
    assert ask(postgres, "SELECT * FROM devices.alert_runs") == []


def test_alert_is_gone_with_the_records_that_were_not_committed(postgres: str) -> None:
    with psycopg.connect(postgres) as conn:
        lines = [(1, json.dumps(body("A", 1, 130)))]
        rows = read_bodies(lines, 1, "test", "UTC").rows
        write_rows(conn, 1, rows, BatchClock(), effects_of(HIGH))
        conn.rollback()

    assert ask(postgres, ALERTS) == []


@dataclass
class Run:
    newest: int = 0
    count: int = 0
    since: int = 0
    prior: tuple[int, int] = (0, 0)


@dataclass
class Model:
    """What alerts are, said in plain Python: one rule, one record after the other."""

    rule: AlertRule
    known: dict[tuple[str, int], tuple[int | None, bool]] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    alerts: list[list[object]] = field(default_factory=list)

    def write(self, part: Sequence[Reading]) -> None:
        newest = {(device, minute): (rate, wanted) for device, minute, rate, wanted in part}
        written = {key: sent for key, sent in newest.items() if self.known.get(key) != sent}
        before = dict(self.known)
        self.known |= written
        for device in sorted({device for device, _ in written}):
            points = sorted(
                (minute, rate)
                for (name, minute), (rate, wanted) in written.items()
                if name == device and rate is not None and wanted
            )
            if points:
                untouched = [
                    minute
                    for (name, minute), (rate, _) in before.items()
                    if name == device and rate is not None and (name, minute) not in written
                ]
                corrected = [minute for minute, _ in points if (device, minute) in before]
                edge = max(untouched + corrected, default=0)
                self._follow(device, [point for point in points if point[0] >= edge])

    def _follow(self, device: str, points: Sequence[tuple[int, int]]) -> None:
        run = self.runs.setdefault(device, Run())
        if points and points[0][0] <= run.newest:
            run.count, run.since = run.prior
        for minute, rate in points:
            run.newest, run.prior = minute, (run.count, run.since)
            opened = [a for a in self.alerts if a[0] == device and a[4] is None]
            if rate <= (self.rule.max or 0):
                run.count = 0
                for alert in opened:
                    alert[4] = at(minute)
                continue
            run.since = run.since if run.count else minute
            run.count += 1
            lasted = (minute - run.since) * 60 >= self.rule.for_seconds
            if not opened and run.count >= self.rule.records and lasted:
                self.alerts.append([device, self.rule.name, at(run.since), at(minute), None])


@pytest.mark.parametrize("seed", range(4))
def test_alerts_are_those_of_a_plain_model(postgres: str, seed: int) -> None:
    chance = random.Random(seed)
    models = [Model(HIGH), Model(LASTING)]
    effects = effects_of(HIGH, LASTING)
    with psycopg.connect(postgres) as conn:
        for number in range(40):
            part = [
                (
                    f"D{chance.randrange(4)}",
                    max(1, number * 4 + chance.randrange(-12, 12)),
                    chance.choice([None, 70, 90, 110, 110, 130, 140]),
                    chance.random() > 0.1,
                )
                for _ in range(chance.randrange(1, 25))
            ]
            write(conn, [body(*one) for one in part], effects)
            for model in models:
                model.write(part)

    expected = [tuple(alert) for model in models for alert in model.alerts]
    assert sorted(ask(postgres, ALERTS), key=str) == sorted(expected, key=str)
    assert len(expected) > 40


def test_alerts_do_not_depend_on_how_records_are_cut_into_parts(postgres: str) -> None:
    chance = random.Random(9)
    records: list[Reading] = [
        ("A", minute, chance.choice([80, 105, 110, 130]), True) for minute in range(1, 200)
    ]
    cuts = [records[place : place + 7] for place in range(0, len(records), 7)]

    write_parts(postgres, effects_of(HIGH, LASTING), records)
    whole = ask(postgres, ALERTS)
    with psycopg.connect(postgres) as conn:
        conn.execute("TRUNCATE devices.records, devices.alerts, devices.alert_runs, devices.latest")
    write_parts(postgres, effects_of(HIGH, LASTING), *cuts)

    assert sorted(ask(postgres, ALERTS), key=str) == sorted(whole, key=str)
    assert len(whole) > 40
