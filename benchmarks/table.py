"""Figures as a table for people."""

from collections.abc import Mapping


def print_figures(figures: Mapping[str, object]) -> None:
    """One line a figure, with its spread beside it."""
    for name, value in figures.items():
        if name.endswith("_spread"):
            continue
        shown = f"{value:,.4g}" if isinstance(value, float) else str(value)
        spread = figures.get(f"{name}_spread")
        print(f"{name:44} {shown:>12}  {f'({spread})' if spread else ''}".rstrip())
