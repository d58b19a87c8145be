import json
from argparse import ArgumentParser
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pa_parquet
import pytest

from benchmarks import load, load_peers
from benchmarks.command import Command, add_arguments, folder_of_results
from benchmarks.figures import Figures, iter_turns
from benchmarks.load_figures import PeerCost, Runs, peer_figures
from benchmarks.load_peers import PEERS, LoadPeer, PeerLoad, Peers
from benchmarks.market_year import (
    DayFiles,
    write_changed,
    write_parquet,
    write_without,
    write_year,
)
from benchmarks.measure import Cost
from benchmarks.peer_environment import PeerAbsent, ensure_python
from benchmarks.psql_copy import upsert_statement
from benchmarks.vendor_replies import read_rows


def test_each_turn_begins_with_another_way_and_the_first_is_not_counted() -> None:
    turns = list(iter_turns("abc", 3))

    assert [is_counted for is_counted, _ in turns] == [False, True, True, True]
    assert ["".join(turn) for _, turn in turns] == ["abc", "bca", "cab", "abc"]


def test_ratios_are_of_pairs_and_have_their_spread_beside_them() -> None:
    figures = Figures()

    figures.add_ratio("ratio_vs_slow", [2.0, 9.0, 8.0], [1.0, 3.0, 2.0])
    figures.add_ratio("ratio_vs_nobody", [], [1.0])

    assert figures == {"ratio_vs_slow": 3.0, "ratio_vs_slow_spread": "2 - 4"}


@pytest.mark.long
def test_a_peer_that_cannot_be_installed_is_absent_with_pips_reason(tmp_path: Path) -> None:
    missing = f"peer @ file://{tmp_path}/nothing-here.whl"

    with pytest.raises(PeerAbsent, match=r"pip: .*nothing-here"):
        ensure_python("peer", [missing], tmp_path / "peers", imports="nothing_here")


def test_a_peer_that_takes_no_part_is_not_among_the_figures() -> None:
    cost = Cost(2.0, 100, 0, client_cpu_seconds=1.0, server_cpu_seconds=2.0)
    runs = Runs(first=[Cost(1.0, 100, 0, client_cpu_seconds=0.5, server_cpu_seconds=0.5)])
    runs.add_peer("adbc", PeerCost(cost, 5, 7.0))
    present: LoadPeer = Truncating()  # type: ignore[assignment]

    figures = peer_figures(runs, 10, Peers(present=[present]))

    assert figures["ratio_vs_adbc"] == 4.0
    assert figures["cpu_ratio_vs_adbc"] == pytest.approx(6.0)
    assert not [name for name in figures if "dlt" in name]


def test_the_upsert_of_peers_changes_every_column_but_the_key() -> None:
    plain = upsert_statement("staging")
    distinct = upsert_statement("staging", only_where_distinct=True)

    assert "symbol = excluded" not in plain
    assert plain.count(" = excluded.") == 7
    assert distinct.startswith(plain)
    assert "WHERE (t.open, " in distinct


def test_absent_peers_are_among_the_figures() -> None:
    figures = peer_figures(Runs(), 10, Peers(absent=dict.fromkeys(PEERS, "no network")))

    assert {name: figures[f"ratio_vs_{name}"] for name in PEERS} == dict.fromkeys(PEERS, "absent")
    assert figures["sling_absent_because"] == "no network"


class Truncating:
    """A peer that loads nothing."""

    name, kind, version = "adbc", PEERS["adbc"], "1"

    def load(self, url: str, files: list[Path], *, is_upsert: bool, is_fresh: bool) -> PeerLoad:
        assert url
        assert (is_upsert, is_fresh) == (False, True)
        assert files
        return PeerLoad(0.1, 10.0)


@pytest.mark.long
def test_a_peer_that_stored_other_rows_ends_the_benchmark(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(load.SCALES, "small", load.Scale(symbols=20, sessions=3))
    monkeypatch.setattr(load_peers, "PEERS", {"adbc": PEERS["adbc"]})
    peer: LoadPeer = Truncating()  # type: ignore[assignment]
    monkeypatch.setattr(load_peers, "_open", lambda *_: peer)
    parser = ArgumentParser()
    load.COMMAND.add_to(parser.add_subparsers())
    words = ["load", "--scale", "small", "--repetitions", "1", "--database-url", postgres]

    arguments = parser.parse_args([*words, "--peers", str(tmp_path)])

    with pytest.raises(RuntimeError, match=r"the core stored \(60, .*, adbc \(0, "):
        arguments.run(arguments)


@pytest.mark.long
def test_reruns_alone_name_their_figures(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(load.SCALES, "small", load.Scale(symbols=200, sessions=3))
    parser = ArgumentParser()
    load.RERUN.add_to(parser.add_subparsers())
    written = tmp_path / "figures.json"
    words = ["rerun", "--scale", "small", "--repetitions", "1", "--json", str(written)]

    arguments = parser.parse_args([*words, "--database-url", postgres])
    arguments.run(arguments)

    figures = json.loads(written.read_text(encoding="utf-8"))
    assert figures["rows"] == 600
    assert list(tmp_path.iterdir()) == [written]
    assert figures["ratio_rerun_same_source"] > 0
    assert not [name for name in figures if name.startswith("ratio_vs_")]


def test_a_days_files_can_be_left_short_and_corrected_late(tmp_path: Path) -> None:
    year = write_year(tmp_path / "year", tmp_path / "cache", symbols=200, sessions=3)

    base, left_out = write_without(year, tmp_path / "base", ratio=0.01)
    late, changed = write_changed(year, tmp_path / "late", ratio=0.01, only=year.days[:1])

    assert (base.row_count, left_out) == (594, 6)
    assert changed == 2
    same = [late.file_of(day).read_bytes() == year.file_of(day).read_bytes() for day in year.days]
    assert same == [False, True, True]
    assert year.first(2).row_count == 400


def test_parquet_files_hold_the_rows_of_the_csv_files(tmp_path: Path) -> None:
    year = write_year(tmp_path / "year", tmp_path / "cache", symbols=5, sessions=1)

    parquet = write_parquet(year, tmp_path / "parquet")

    found = pa_parquet.read_table(parquet.file_of(year.days[0])).to_pylist()[0]
    row = next(read_rows(year, year.days[0]))
    assert (found["symbol"], found["close"]) == (row.symbol, Decimal(row.close))
    assert DayFiles.of(parquet.described()).feed().files == "{date}.parquet"


def test_results_go_to_the_documentation_unless_a_file_is_named(tmp_path: Path) -> None:
    parser = ArgumentParser()
    add_arguments(parser)

    folders = [
        folder_of_results(parser.parse_args(words))
        for words in ([], ["--json", "f.json"], ["--json", "f.json", "--out", str(tmp_path)])
    ]

    assert folders == [Path("docs/performance"), None, tmp_path]


def test_a_command_writes_its_figures_and_pictures(tmp_path: Path) -> None:
    command = Command("few", "", {}, lambda _: {}, pictures=lambda f: {"one": f"<svg {f['a']}>"})

    command.write_out({"a": 1}, tmp_path / "out")

    assert json.loads((tmp_path / "out" / "few.json").read_text()) == {"a": 1}
    assert (tmp_path / "out" / "one.svg").read_text() == "<svg 1>"
