"""The pictures of docs/performance: which figures of a benchmark are drawn, and their names.

How bars are drawn is in picture.py.
"""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.picture import Bar, Group, draw_bars

Figures = Mapping[str, object]
Pictures = Mapping[str, str]
"""Texts of SVG files by their names without ending."""

_LABELS = {
    "": "batch_assets", "core": "batch_assets", "psql": "psql \\copy", "adbc": "ADBC ingest",
    "asyncpg": "asyncpg copy", "duckdb": "DuckDB postgres", "pgcopy": "pgcopy",
    "to_sql": "pandas to_sql", "to_sql_multi": "to_sql multi", "dlt": "dlt", "sling": "sling",
    "pgloader": "pgloader", "dagster": "… under Dagster",
}  # fmt: skip
_UPSERTS = {
    "core": "batch_assets", "psql": "psql upsert", "psql_where_distinct": "… where distinct",
    "asyncpg": "asyncpg upsert", "dlt": "dlt merge", "sling": "sling upsert",
}  # fmt: skip
_STEPS = {
    "unchanged": "unchanged, rows/s", "new": "1 % new rows, rows/s",
    "changed": "1 % changed rows, rows/s", "late": "late corrections, rows/s",
}  # fmt: skip


def draw_first_load(figures: Figures) -> Pictures:
    """Rows per second of a first load, of every way."""
    groups = [Group("rows/s, imports warm", _rates(figures, ["", *_names_of_peers()]))]
    title = "First load into a keyed table"
    return {"first-load": draw_bars(title, _notes(figures, figures["rows"]), groups)}


def draw_cold(figures: Figures) -> Pictures:
    """Rows per second of whole processes."""
    names = ["core", "dagster", *_names_of_peers()]
    groups = [Group("rows/s, from start to end of the process", _rates(figures, names))]
    title = "Whole process, imports included"
    return {"cold": draw_bars(title, _notes(figures, figures["rows"]), groups)}


def draw_reload(figures: Figures) -> Pictures:
    """Rows per second of loading again, of every way and step."""
    groups = [
        Group(heading, [
            bar
            for way, label in _UPSERTS.items()
            for bar in _bar(
                figures, f"{step}_{way}_rows_per_second", label, is_ours=way == "core"
            )
        ])
        for step, heading in _STEPS.items()
    ]  # fmt: skip
    notes = _notes(figures, figures["unchanged_rows"])
    return {"reload": draw_bars("The same files again", notes, groups)}


def draw_scaling(figures: Figures) -> Pictures:
    """The cost of a row, file and shard at each size, and a sensor's longest tick."""
    units = {
        "rows": "a row, µs", "files": "a file of 20 records, µs",
        "shards": "a shard of 20,000 records, µs",
    }  # fmt: skip
    groups = [
        Group(
            f"{words}: exponent {figures[f'{unit}_exponent']:.2f}",
            _sizes(figures, f"{unit}_cpu_us_of_"),
        )
        for unit, words in units.items()
    ]
    groups.append(
        Group("longest tick, s, by waiting files", _sizes(figures, "sensor_tick_cpu_seconds_of_"))
    )
    notes = ["processor time of client and server", *_notes(figures)]
    return {"scaling": draw_bars("Does more cost each more?", notes, groups)}


def draw_partitions(figures: Figures) -> Pictures:
    """What Dagster adds to a partition, by their number."""
    groups = [
        Group(
            f"ms a partition by the clock: exponent {figures['dagster_growth_exponent']:.2f}",
            _sizes(figures, "dagster_ms_per_partition_of_"),
        ),
        Group(
            f"processor time, ms: exponent {figures['dagster_cpu_growth_exponent']:.2f}",
            _sizes(figures, "dagster_cpu_ms_per_partition_of_"),
        ),
    ]
    return {
        "partitions": draw_bars("Dagster over the core, by partitions", _notes(figures), groups)
    }


def _names_of_peers() -> list[str]:
    return [name for name in _LABELS if name not in ("", "core", "dagster")]


def _rates(figures: Figures, names: Iterable[str]) -> list[Bar]:
    """Fastest first, ours wherever it comes."""
    bars = [
        bar
        for name in names
        for bar in _bar(
            figures,
            f"{name}_rows_per_second" if name else "rows_per_second",
            _LABELS[name],
            is_ours=name in ("", "core", "dagster"),
        )
    ]
    return sorted(bars, key=lambda bar: -bar.value)


def _sizes(figures: Figures, prefix: str) -> list[Bar]:
    """A bar for each size that was measured, ascending."""
    sizes = sorted(
        int(size)
        for name in figures
        if name.startswith(prefix) and (size := name.removeprefix(prefix)).isdigit()
    )
    return [
        bar for size in sizes for bar in _bar(figures, f"{prefix}{size}", f"{size:,}", is_ours=True)
    ]


def _bar(figures: Figures, name: str, label: str, *, is_ours: bool) -> list[Bar]:
    """The bar of a figure; none where it was not measured."""
    value = figures.get(name)
    if not isinstance(value, int | float):
        return []
    low, high = _spread_of(figures, name, float(value))
    return [Bar(label, float(value), low, high, _number(float(value)), is_ours)]


def _spread_of(figures: Figures, name: str, value: float) -> tuple[float, float]:
    spread = figures.get(f"{name}_spread")
    if not isinstance(spread, str):
        return value, value
    low, high = (float(part) for part in spread.split(" - "))
    # The spread is rounded to three digits; the median must not lie outside of it.
    return max(0.0, min(low, value)), max(high, value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _notes(figures: Figures, rows: object = None) -> Sequence[str]:
    """What was measured, where and when; and who could not take part."""
    machine = str(figures.get("machine", "")).split(", Python")[0]
    load = figures.get("load_average")
    busy = f", load average {load:.1f}" if isinstance(load, float) else ""
    what = f"{rows:,} rows, " if isinstance(rows, int) else ""
    repetitions, day = figures.get("repetitions"), str(figures.get("measured_at"))[:10]
    notes = [
        f"{what}{figures.get('scale')} scale, {repetitions} repetitions, median and spread",
        f"{machine}{busy}",
        f"{day}, PostgreSQL {figures.get('server_server_version')}",
    ]
    absent = sorted(
        name.removesuffix("_absent_because") for name in figures if name.endswith("_absent_because")
    )
    return [*notes, f"absent: {', '.join(absent)}"] if absent else notes
