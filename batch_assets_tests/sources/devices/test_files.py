"""Landing files of every format become the same typed rows, and clear dead letters."""

import gzip
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.errors import UnreadableSource
from batch_assets.sources.devices import files
from batch_assets.sources.devices.bodies import DeviceBatch
from batch_assets.sources.devices.files import MAX_LINE_BYTES, read_batches
from batch_assets.sources.devices.parse import RecordKind

BODY = {
    "device_sn": "SN1",
    "main_data": {
        "timestamp": "2025-01-31T08:00:00+08:00",
        "heart_rate": 72,
        "blood_oxygen": "97.5",
        "temperature": 36.6,
        "pressure_high": 120,
        "pressure_low": 80,
        "step": 1200,
        "firmware": "1.2",
    },
    "daily_data": {"date": "2025-01-30", "step": 8000, "sleep": 420},
    "weekly_data": {"week": "2025-01-29", "step": 210_000},
    "config_info": {"interval": 60},
    "enable_alerts": True,
}


def ndjson(path: Path, *bodies: object) -> Path:
    path.write_text("".join(f"{json.dumps(body)}\n" for body in bodies))
    return path


def read(path: Path, **options: object) -> list[DeviceBatch]:
    return list(read_batches(path, path.name, **options))  # type: ignore[arg-type]


def rules(batch: DeviceBatch) -> list[tuple[int, str, str]]:
    return [(r.row, r.violations[0].rule, r.violations[0].column) for r in batch.rejected]


def test_body_of_the_old_clients_becomes_three_rows(tmp_path: Path) -> None:
    (batch,) = read(ndjson(tmp_path / "a.ndjson", BODY))

    assert (batch.last_row, batch.read_rows, batch.rejected) == (1, 3, ())
    (main,) = batch.rows[RecordKind.RECORDS].to_pylist()
    assert json.loads(main.pop("extra")) == {"firmware": "1.2", "config_info": {"interval": 60}}
    assert main == {
        "device_sn": "SN1",
        "measured_at": datetime(2025, 1, 31, 0, 0, tzinfo=UTC),
        "heart_rate_bpm": Decimal(72),
        "spo2_pct": Decimal("97.5"),
        "temperature_celsius": Decimal("36.6"),
        "systolic_mmhg": Decimal(120),
        "diastolic_mmhg": Decimal(80),
        "steps": 1200,
        "sleep_minutes": None,
        "row_number": 1,
    }
    (day,) = batch.rows[RecordKind.DAILY].to_pylist()
    assert (day["day"], day["steps"], day["sleep_minutes"]) == (date(2025, 1, 30), 8000, 420)
    (week,) = batch.rows[RecordKind.WEEKLY].to_pylist()
    assert (week["week"], week["steps"]) == (date(2025, 1, 27), 210_000)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zst", ".parquet", ".jsonl.zst"])
def test_every_format_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"device_sn": f"SN{n}", "measured_at": f"2025-01-31T08:{n:02d}:00Z", "hr": 60 + n}
        for n in range(50)
    ]
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        csv = "device_sn,measured_at,hr\n" + "".join(
            f"{','.join(map(str, row.values()))}\n" for row in rows
        )
        jsonl = "".join(f"{json.dumps(row)}\n" for row in rows)
        raw = (jsonl if "jsonl" in suffix else csv).encode()
        packed = {"gz": gzip.compress(raw), "csv": raw}
        packed["zst"] = pa.Codec("zstd").compress(raw, asbytes=True)
        path.write_bytes(packed[suffix.rsplit(".")[-1]])

    batches = read(path, batch_rows=20)

    assert [batch.last_row for batch in batches] == [20, 40, 50]
    assert sum(batch.read_rows for batch in batches) == 50
    table = pa.Table.from_batches([batch.rows[RecordKind.RECORDS] for batch in batches])
    assert table.column("row_number").to_pylist() == list(range(1, 51))
    assert table.column("heart_rate_bpm").to_pylist() == [Decimal(60 + n) for n in range(50)]
    assert table.column("measured_at")[49].as_py() == datetime(2025, 1, 31, 8, 49, tzinfo=UTC)

    resumed = read(path, batch_rows=20, after_row=33)

    assert [
        row for b in resumed for row in b.rows[RecordKind.RECORDS]["row_number"].to_pylist()
    ] == (list(range(34, 51)))


@pytest.mark.parametrize(
    ("fields", "rule", "column"),
    [
        ({"heart_rate": "fast"}, "not_a_number", "heart_rate_bpm"),
        ({"heart_rate": 1e9}, "impossible_value", "heart_rate_bpm"),
        ({"heart_rate": -1}, "impossible_value", "heart_rate_bpm"),
        ({"heart_rate": True}, "not_a_number", "heart_rate_bpm"),
        ({"heart_rate": [72]}, "not_a_number", "heart_rate_bpm"),
        ({"blood_oxygen": 100.5}, "impossible_value", "spo2_pct"),
        ({"temperature": 97.9}, "impossible_value", "temperature_celsius"),
        ({"step": 1.5}, "not_whole", "steps"),
        ({"step": 10**30}, "impossible_value", "steps"),
        ({"timestamp": "yesterday"}, "not_a_time", "measured_at"),
        ({"timestamp": "2025-02-30T08:00:00Z"}, "not_a_time", "measured_at"),
        ({"timestamp": 1e300}, "not_a_time", "measured_at"),
        ({"timestamp": None}, "missing_value", "measured_at"),
        ({"timestamp": ""}, "missing_value", "measured_at"),
    ],
)
def test_impossible_value_costs_its_row_alone(
    tmp_path: Path, fields: dict[str, object], rule: str, column: str
) -> None:
    bad = {"device_sn": "SN2", "main_data": {**BODY["main_data"], **fields}}  # type: ignore[dict-item]
    good = {"device_sn": "SN1", "main_data": BODY["main_data"]}

    (batch,) = read(ndjson(tmp_path / "a.ndjson", good, bad, good))

    assert rules(batch) == [(2, rule, column)]
    assert batch.read_rows == 3
    assert batch.rejected[0].original["device_sn"] == "SN2"
    assert batch.rows[RecordKind.RECORDS]["row_number"].to_pylist() == [1, 3]
    assert batch.rows[RecordKind.RECORDS]["heart_rate_bpm"].to_pylist() == [Decimal(72)] * 2


@pytest.mark.parametrize("device", [None, "", "  ", "absent"])
def test_record_without_a_device_is_rejected(tmp_path: Path, device: str | None) -> None:
    body = {"main_data": BODY["main_data"]} | ({} if device == "absent" else {"device_sn": device})

    (batch,) = read(ndjson(tmp_path / "a.ndjson", body))

    assert rules(batch) == [(1, "missing_value", "device_sn")]


def test_name_that_no_index_can_hold_is_rejected(tmp_path: Path) -> None:
    body = {"device_sn": "手" * 201, "main_data": BODY["main_data"]}

    (batch,) = read(ndjson(tmp_path / "a.ndjson", body))

    assert rules(batch) == [(1, "name_too_long", "device_sn")]


def test_time_that_no_calendar_can_show_is_rejected(tmp_path: Path) -> None:
    micros = pa.array([-(2**62), 2**62, 0], pa.timestamp("us", "UTC"))
    table = pa.table({"device_sn": ["A", "B", "C"], "measured_at": micros})
    pq.write_table(table, tmp_path / "a.parquet")

    (batch,) = read(tmp_path / "a.parquet")

    assert rules(batch) == [(n, "date_out_of_range", "measured_at") for n in (1, 2)]


def test_lines_that_are_no_bodies_are_dead_letters_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(
        b'{"device_sn": "SN1", \n[1]\n\n{"device_sn": "SN1"}\n{"device_sn": "\xff"}\n'
        b'{"device_sn": "SN1", "main_data": 5}\n{"device_sn": "SN1", "main_data": {"time": NaN}}\n'
        b"{" + b" " * (MAX_LINE_BYTES * 2) + b"}\n"
    )

    (batch,) = read(path)

    assert [(number, rule) for number, rule, _ in rules(batch)] == [
        (1, "not_a_json_object"),
        (2, "not_a_json_object"),
        (4, "no_data"),
        (5, "not_a_json_object"),
        (6, "no_data"),
        (7, "not_a_json_object"),
        (8, "not_a_json_object"),
    ]
    assert batch.read_rows == 7
    assert batch.rejected[0].original == {"line": '{"device_sn": "SN1", '}


def test_text_that_no_database_can_hold_costs_its_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    notes = (r'"\u0000"', r'"\ud800"', r'"\\u0000"', r'"\u624b"', "1e999", r'"\\\u0000"')
    begin = '{"device_sn": "S", "timestamp": 1738310400, "note": '
    path.write_text("".join(f"{begin}{note}}}\n" for note in notes))

    (batch,) = read(path)

    assert rules(batch) == [
        (2, "not_a_json_object", ""),
        (1, "nul_character", "extra"),
        (6, "nul_character", "extra"),
    ]
    extra = batch.rows[RecordKind.RECORDS]["extra"].to_pylist()
    assert [json.loads(text)["note"] for text in extra] == [r"\u0000", "手", "inf"]


def test_csv_line_with_too_many_fields_is_a_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "device_sn,measured_at,steps,note\nSN1,2025-01-31 08:00:00,5,x\n\n"
        "SN1,2025-01-31 09:00:00,5,x,y\nSN1,2025-01-31 10:00:00,,\n"
    )

    (batch,) = read(path, zone="Asia/Shanghai")

    assert rules(batch) == [(3, "wrong_number_of_fields", "")]
    rows = batch.rows[RecordKind.RECORDS].to_pylist()
    assert [(row["row_number"], row["steps"], row["extra"]) for row in rows] == [
        (1, 5, '{"note": "x"}'),
        (4, None, None),
    ]
    assert rows[0]["measured_at"] == datetime(2025, 1, 31, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1738310400, datetime(2025, 1, 31, 8, 0, tzinfo=UTC)),
        ("1738310400", datetime(2025, 1, 31, 8, 0, tzinfo=UTC)),
        (1738310400123, datetime(2025, 1, 31, 8, 0, 0, 123000, tzinfo=UTC)),
        ("2025-01-31T08:00Z", datetime(2025, 1, 31, 8, 0, tzinfo=UTC)),
        ("2025-01-31 08:00:00.5+0530", datetime(2025, 1, 31, 2, 30, 0, 500000, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_clients_write_them(
    tmp_path: Path, seconds: object, expected: datetime
) -> None:
    (batch,) = read(ndjson(tmp_path / "a.ndjson", {"device_sn": "S", "timestamp": seconds}))

    assert batch.rows[RecordKind.RECORDS]["measured_at"].to_pylist() == [expected]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "rename the file"),
        ("a.csv", b"a,b\n1,2\n", "has the columns a, b"),
        ("a.csv", b"", "none"),
        ("a.csv", b'device_sn,day\nS,"2025\n', "is no CSV"),
        ("a.ndjson.gz", gzip.compress(b'{"a": 1}\n' * 9, mtime=0)[:-9], "cut off"),
        ("a.parquet", b"PAR1", "cut off"),
    ],
)
def test_file_that_cannot_be_read_says_why(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(UnreadableSource, match=message):
        read(path)


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=12))
def test_lines_do_not_depend_on_the_blocks_that_are_read(lines: list[bytes]) -> None:
    content = b"\n".join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "MAX_LINE_BYTES", 24)
        for block_bytes in (1, 7, 24):
            patch.setattr(files, "_BLOCK_BYTES", block_bytes)

            found = list(files.read_lines(pa.input_stream(pa.py_buffer(content))))

            expected = [line[:24] for line in content.split(b"\n")]
            assert found == (expected if expected[-1] else expected[:-1])
