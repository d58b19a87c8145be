import json
import math
from argparse import ArgumentParser
from pathlib import Path

import psycopg
import pytest

from batch_assets.ingest.devices.load import DeviceOptions, load_device_files
from batch_assets_tests.loading.synthetic import connector
from benchmarks import devices
from benchmarks.device_records import Fleet, Truth

WITH_AIMS = ("file_records_per_second", "continuous_p95_seconds")
COUNTS = ("lost", "doubled", "out_of_order")


def test_the_comparison_sees_what_is_lost_doubled_and_out_of_order(
    postgres: str, tmp_path: Path
) -> None:
    fleet = Fleet(devices=20, rounds=60)
    fleet.write_files(tmp_path / "landing", 3)
    options = DeviceOptions(settle_seconds=0.0, batch_rows=100)
    load_device_files(connector(postgres), tmp_path / "landing", options)

    with psycopg.connect(postgres, autocommit=True) as conn:
        whole = fleet.compare(conn)
        conn.execute("UPDATE devices.daily_rollups SET record_count = record_count + 1")
        doubled = fleet.compare(conn)
        conn.execute("UPDATE devices.daily_rollups SET record_count = record_count - 1")
        conn.execute("UPDATE devices.latest SET steps = 1 WHERE device_sn = 'SN000003'")
        overtaken = fleet.compare(conn)
        conn.execute("DELETE FROM devices.records WHERE device_sn = 'SN000005'")
        lost = fleet.compare(conn)

    corrections = sum((d * 7 + q) % 100 == 0 for d in range(20) for q in range(1, 60))
    assert corrections > 0
    assert whole == Truth(fleet.records - corrections, 0, 0, 0)
    assert doubled.doubled == 20
    assert overtaken.out_of_order == 1
    assert lost.lost >= 59
    with pytest.raises(RuntimeError, match=r"lost=\d\d"):
        lost.require("files")


@pytest.mark.long
def test_the_command_writes_flat_figures(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(devices.SCALES, "small", devices.Scale(40, 20, 2, 8))
    parser = ArgumentParser()
    devices.COMMAND.add_to(parser.add_subparsers())
    written = tmp_path / "figures.json"
    words = ["devices", "--scale", "small", "--repetitions", "1", "--json", str(written)]
    arguments = parser.parse_args([*words, "--database-url", postgres])

    arguments.run(arguments)

    figures = json.loads(written.read_text(encoding="utf-8"))
    for name in WITH_AIMS:
        assert math.isfinite(figures[name]), name
        assert figures[name] > 0, name
    assert [figures[name] for name in COUNTS] == [0, 0, 0]
    assert figures["records"] == 800
    assert figures["continuous_restarts"] == 0
