"""What Arrow reads at once is what the careful reader makes of each line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.sources.devices import bodies
from batch_assets.sources.devices.bodies import DeviceBatch, read_bodies
from batch_assets.sources.devices.plain_bodies import read_plain

PLAIN = {
    "device_sn": "SN1",
    "main_data": {"timestamp": "2025-01-31T08:00:00+08:00", "heart_rate": 72, "spo2": 97.5},
    "daily_data": {"date": "2025-01-30", "step": 8000},
    "enable_alerts": True,
}
Lines = list[tuple[int, str | bytes]]


def as_lines(*sent: object) -> Lines:
    return [(number, json.dumps(body).encode()) for number, body in enumerate(sent, 1)]


def careful(lines: Lines) -> DeviceBatch:
    """The same lines without the short cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "read_plain", lambda _: None)
        return read_bodies(lines, len(lines), "f", "UTC")


def comparable(batch: DeviceBatch) -> tuple[object, ...]:
    rows = {kind: rows.to_pylist() for kind, rows in batch.rows.items()}
    refused = sorted(
        (row.row, [(v.rule, v.column) for v in row.violations], sorted(row.original))
        for row in batch.rejected
    )
    return batch.read_rows, rows, refused


def test_bodies_of_the_contract_are_plain() -> None:
    raw = read_plain(as_lines(PLAIN, {**PLAIN, "daily_data": None}))

    assert raw is not None
    assert [(rows.kind.value, rows.row_number.to_pylist()) for rows in raw] == [
        ("records", [1, 2]),
        ("daily", [1]),
    ]


@pytest.mark.parametrize(
    "other",
    [
        {**PLAIN, "config_info": {"interval": 60}},
        {**PLAIN, "enable_alerts": False},
        {**PLAIN, "main_data": {}},
        {**PLAIN, "main_data": {"heart_rate": 60}},
        {**PLAIN, "main_data": {**PLAIN["main_data"], "heart_rate": "72"}},  # type: ignore[dict-item]
        {**PLAIN, "main_data": {**PLAIN["main_data"], "hr": 80}},  # type: ignore[dict-item]
        {**PLAIN, "main_data": {**PLAIN["main_data"], "firmware": "1"}},  # type: ignore[dict-item]
        {"device_sn": 5, "main_data": PLAIN["main_data"]},
        {"device_sn": "SN1"},
        {"device_sn": "SN1", "measured_at": "2025-01-31T08:00:00Z"},
        [1],
        None,
    ],
)
def test_what_is_not_plain_is_left_to_the_careful_reader(other: object) -> None:
    assert read_plain(as_lines(PLAIN, other)) is None


@pytest.mark.parametrize("line", [b"\n", b"{\n", b'{"device_sn": "\xff"}\n', b"{}{}\n", b"NaN\n"])
def test_broken_line_is_left_to_the_careful_reader(line: bytes) -> None:
    lines: Lines = [*as_lines(PLAIN), (2, line)]

    assert read_plain(lines) is None
    assert [row.row for row in read_bodies(lines, 2, "f", "UTC").rejected] == [2]


def test_dead_letter_of_a_plain_line_has_its_values() -> None:
    bad = {"device_sn": "手", "main_data": {"timestamp": "never", "heart_rate": 900}}
    lines: Lines = [(5, json.dumps(PLAIN)), (9, json.dumps(bad))]

    (rejected,) = read_bodies(lines, 9, "f", "UTC").rejected

    assert read_plain(lines) is not None
    assert rejected.row == 9
    assert [(v.rule, v.observed) for v in rejected.violations] == [
        ("not_a_time", "never"),
        ("impossible_value", "900"),
    ]
    assert rejected.original["device_sn"] == "手"
    assert json.loads(rejected.original["main_data"] or "") == bad["main_data"]


_NUMBERS = st.none() | st.integers(-5, 400) | st.floats(0, 400) | st.just(10**20)
_MOMENTS = st.sampled_from(["2025-01-31T08:00:00Z", "2025-01-31 08:00", "2025-02-30", "", None])
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": _MOMENTS,
        "date": _MOMENTS,
        "heart_rate": _NUMBERS,
        "hr": _NUMBERS,
        "step": _NUMBERS,
        "spo2": _NUMBERS,
    },
)
_BODIES = st.fixed_dictionaries(
    {"device_sn": st.sampled_from(["A", "B\u0000", "", "手", None])},
    optional={
        "main_data": _FIELDS | st.none(),
        "daily_data": _FIELDS,
        "enable_alerts": st.booleans(),
    },
)


@given(st.lists(_BODIES, min_size=1, max_size=4))
def test_both_readers_agree(sent: list[object]) -> None:
    lines = as_lines(*sent)

    assert comparable(read_bodies(lines, len(lines), "f", "UTC")) == comparable(careful(lines))


def test_names_that_few_bodies_use_are_read_too() -> None:
    sent: list[object] = [PLAIN] * 99
    sent[50:50] = [{"device_sn": "SN2", "weekly_data": {"week": "2025-01-27", "hr": 60}}]
    lines = as_lines(*sent)

    found = read_plain(lines)

    assert found is not None
    assert sorted(rows.kind for rows in found) == ["daily", "records", "weekly"]
    assert comparable(read_bodies(lines, 100, "f", "UTC")) == comparable(careful(lines))
