"""From the costs of each way to the figures of `python -m benchmarks market`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.measure import Cost, Sample, paired_ratios

Costs = dict[str, list[Cost]]
"""Costs of each way, repetition by repetition."""

_DAYS = ("day_tushare", "day_baostock", "day_real_wire")
_YEARS = ("year_tushare", "year_baostock", "year_tushare_with_latency")
_BY_SYMBOL = {
    "year_by_symbol": "year_by_symbol_symbols_per_second",
    "year_by_symbol_with_latency": "year_by_symbol_symbols_per_second_with_latency",
}


@dataclass(slots=True)
class _Figures:
    """Figures so far: a median and its spread under each name."""

    flat: dict[str, object] = field(default_factory=dict)

    def add(self, name: str, values: Sequence[float]) -> float:
        """Add a sample; returns its median."""
        sample = Sample.of(values)
        self.flat[name], self.flat[f"{name}_spread"] = sample.median, sample.spread
        return sample.median

    def add_cpu(self, name: str, way: Sequence[Cost]) -> None:
        """Add processor time of both sides."""
        self.add(f"{name}_client_cpu_seconds", [cost.client_cpu_seconds for cost in way])
        self.add(f"{name}_server_cpu_seconds", [cost.server_cpu_seconds for cost in way])


def figures_of(
    costs: Mapping[str, Sequence[Cost]], *, year_rows: int, symbols: int
) -> dict[str, object]:
    """Medians and spreads, flat.

    The figures that have an aim are those of the slower vendor; all are there by vendor too.

    Args:
        costs: By way; a way that was not taken has no figures.
        year_rows: Rows of a year by day.
        symbols: Symbols of a year by symbol.
    """
    figures = _Figures()
    days = {name: _add_day(figures, name, costs[name]) for name in _DAYS if name in costs}
    figures.flat["day_seconds"] = max(days["day_tushare"], days["day_baostock"])
    files = costs["year_files"]
    figures.add("year_files_rows_per_second", [year_rows / cost.seconds for cost in files])
    figures.add_cpu("year_files", files)
    ratios = {name: _add_year(figures, name, costs[name], files, year_rows) for name in _YEARS}
    figures.flat["year_by_day_rows_per_second_ratio_to_files"] = min(
        ratios["year_tushare"], ratios["year_baostock"]
    )
    for way, name in _BY_SYMBOL.items():
        figures.add(name, [symbols / cost.seconds for cost in costs[way]])
        figures.add_cpu(way, costs[way])
    return figures.flat


def _add_day(figures: _Figures, name: str, way: Sequence[Cost]) -> float:
    median = figures.add(f"{name}_seconds", [cost.seconds for cost in way])
    figures.add_cpu(name, way)
    return median


def _add_year(
    figures: _Figures, name: str, way: Sequence[Cost], files: Sequence[Cost], rows: int
) -> float:
    figures.add(f"{name}_rows_per_second", [rows / cost.seconds for cost in way])
    figures.add_cpu(name, way)
    ratios = paired_ratios([cost.seconds for cost in files], [cost.seconds for cost in way])
    return figures.add(f"{name}_ratio_to_files", ratios.values)
