import json
from argparse import ArgumentParser
from pathlib import Path

import pytest

from benchmarks import load, load_peers
from benchmarks.figures import Figures, iter_turns
from benchmarks.fit import growth_exponent
from benchmarks.load_figures import Runs, peer_figures
from benchmarks.load_peers import PEERS, LoadPeer, PeerLoad, Peers
from benchmarks.peer_environment import PeerAbsent, ensure_python


def test_each_turn_begins_with_another_way_and_the_first_is_not_counted() -> None:
    turns = list(iter_turns("abc", 3))

    assert [is_counted for is_counted, _ in turns] == [False, True, True, True]
    assert ["".join(turn) for _, turn in turns] == ["abc", "bca", "cab", "abc"]


def test_ratios_are_of_pairs_and_have_their_spread_beside_them() -> None:
    figures = Figures()

    figures.add_ratio("ratio_vs_slow", [2.0, 9.0, 8.0], [1.0, 3.0, 2.0])
    figures.add_ratio("ratio_vs_nobody", [], [1.0])

    assert figures == {"ratio_vs_slow": 3.0, "ratio_vs_slow_spread": "2 - 4"}


def test_the_exponent_is_one_where_each_partition_costs_the_same() -> None:
    assert growth_exponent({10: 0.2, 100: 2.0, 1_000: 20.0}) == pytest.approx(1.0)
    assert growth_exponent({10: 1.0, 100: 100.0}) == pytest.approx(2.0)
    with pytest.raises(RuntimeError, match="expected costs above 0"):
        growth_exponent({10: -0.1, 100: 1.0})


@pytest.mark.long
def test_a_peer_that_cannot_be_installed_is_absent_with_pips_reason(tmp_path: Path) -> None:
    missing = f"peer @ file://{tmp_path}/nothing-here.whl"

    with pytest.raises(PeerAbsent, match=r"pip: .*nothing-here"):
        ensure_python("peer", [missing], tmp_path / "peers", imports="nothing_here")


def test_absent_peers_are_among_the_figures() -> None:
    figures = peer_figures(Runs(), 10, Peers(absent=dict.fromkeys(PEERS, "no network")))

    assert {name: figures[f"ratio_vs_{name}"] for name in PEERS} == dict.fromkeys(PEERS, "absent")
    assert figures["sling_absent_because"] == "no network"


class Truncating:
    """A peer that loads nothing."""

    name, kind, version = "adbc", PEERS["adbc"], "1"

    def load(self, url: str, files: list[Path]) -> PeerLoad:
        assert url
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
    assert figures["ratio_rerun_same_source"] > 0
    assert not [name for name in figures if name.startswith("ratio_vs_")]
