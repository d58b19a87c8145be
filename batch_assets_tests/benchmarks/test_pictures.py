import re
from xml.etree import ElementTree as ET

import pytest

from benchmarks.__main__ import COMMANDS
from benchmarks.picture import Bar, Group, draw_bars
from benchmarks.pictures import draw_first_load, draw_partitions, draw_reload, draw_scaling

SVG = "{http://www.w3.org/2000/svg}"
RUN = {
    "scale": "small", "repetitions": 5, "measured_at": "2026-11-29T08:00:00+00:00",
    "machine": "2 cores, 24 GiB, Linux x86_64, Python 3.11.7", "load_average": 0.5,
    "server_server_version": "18.4",
}  # fmt: skip


def texts_of(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")]


def widths_of(picture: str, kind: str) -> list[float]:
    rects = ET.fromstring(picture).iter(f"{SVG}rect")
    return [float(rect.attrib["width"]) for rect in rects if rect.get("class") == kind]


def test_bars_are_as_long_as_their_values_and_words_are_escaped() -> None:
    bars = [Bar("a < b", 50.0, 40.0, 100.0, "50", is_ours=True), Bar("c & d", 25.0, 25, 25, "25")]

    picture = draw_bars('"Speed"', ["<fast>"], [Group("rows/s", bars)])

    assert texts_of(picture) == ['"Speed"', "<fast>", "rows/s", "a < b", "50", "c & d", "25"]
    [ours], [theirs] = widths_of(picture, "ours"), widths_of(picture, "theirs")
    assert ours == 2 * theirs
    assert ET.fromstring(picture).attrib["aria-label"] == '"Speed"'


def test_the_spread_is_drawn_from_the_lowest_to_the_highest_value() -> None:
    picture = draw_bars("t", [], [Group("g", [Bar("a", 50.0, 0.0, 100.0, "50")])])

    [path] = ET.fromstring(picture).iter(f"{SVG}path")
    xs = [float(x) for x in re.findall(r"[MH]([\d.]+)", path.attrib["d"])]
    [bar] = [r for r in ET.fromstring(picture).iter(f"{SVG}rect") if r.get("rx") == "2"]
    left, length = float(bar.attrib["x"]), float(bar.attrib["width"])
    assert (min(xs), max(xs)) == (left, left + 2 * length)


def test_everything_lies_within_the_width_of_a_telephone() -> None:
    bars = [Bar("a", 123_456.0, 1.0, 200_000.0, "123,456")]

    root = ET.fromstring(draw_bars("t", [], [Group("g", bars)]))

    assert float(root.attrib["width"]) <= 400
    # A digit of 12 px is 7 px wide at most.
    ends = [float(t.attrib["x"]) + 7 * len(t.text or "") for t in root.iter(f"{SVG}text")]
    assert max(ends) <= 400


def test_a_picture_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no bars"):
        draw_bars("t", [], [Group("g", [])])


def test_the_fastest_is_on_top_and_who_is_absent_is_named() -> None:
    figures = RUN | {
        "rows": 1_000, "rows_per_second": 2.0, "psql_rows_per_second": 3.0,
        "psql_rows_per_second_spread": "1 - 4", "ratio_vs_sling": "absent",
        "sling_absent_because": "no network",
    }  # fmt: skip

    texts = texts_of(draw_first_load(figures)["first-load"])

    assert texts.index("psql \\copy") < texts.index("batch_assets")
    assert "absent: sling" in texts
    assert "1,000 rows, small scale, 5 repetitions, median and spread" in texts


def test_sizes_are_in_their_order_with_the_exponent_above_them() -> None:
    sizes = {f"{unit}_cpu_us_of_{size}": 1.0 for unit in ("rows", "files", "shards")
             for size in (100, 20)}  # fmt: skip
    exponents = {f"{unit}_exponent": 1.014 for unit in ("rows", "files", "shards")}

    texts = texts_of(
        draw_scaling({**RUN, **sizes, **exponents, "sensor_tick_cpu_seconds_of_5": 1.0})["scaling"]
    )

    assert "a row, µs: exponent 1.01" in texts
    assert texts.index("20") < texts.index("100")


def test_a_run_of_partitions_has_a_bar_for_each_size() -> None:
    figures = {**RUN, "dagster_growth_exponent": 1.0,
               "dagster_cpu_growth_exponent": 1.0, "dagster_ms_per_partition_of_10": 9.0,
               "dagster_ms_per_partition_of_50": 8.0, "dagster_ms_per_partition": 8.0}  # fmt: skip

    assert len(widths_of(draw_partitions(figures)["partitions"], "ours")) == 2


def test_each_step_of_a_reload_has_the_ways_that_took_part() -> None:
    figures = {**RUN, "unchanged_rows": 10, "unchanged_core_rows_per_second": 9.0,
               "unchanged_psql_rows_per_second": 3.0}  # fmt: skip

    picture = draw_reload(figures)["reload"]

    assert [len(widths_of(picture, kind)) for kind in ("ours", "theirs")] == [1, 1]


def test_no_two_commands_write_the_same_file() -> None:
    names = [command.name for command in COMMANDS]

    assert len(set(names)) == len(names)
