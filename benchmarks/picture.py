"""Bars with their spread as SVG: one column that a telephone shows whole, in light and dark.

The picture brings its own background, because the page around it may have either. What is drawn
belongs in pictures.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH = 400
_MARGIN = 12
_BAR_LEFT = 132
_BAR_WIDTH = 168
_ROW_HEIGHT = 22
_HEADING_HEIGHT = 26
_LINE_HEIGHT = 15

# Each pair of text and background has a contrast of at least 4.5.
_STYLE = """
  .page { fill: #ffffff; } text { fill: #1f2328; font: 12px system-ui, sans-serif; }
  .title { font-size: 15px; font-weight: 600; } .note { fill: #59636e; font-size: 11px; }
  .heading { font-weight: 600; } .ours { fill: #0969da; } .theirs { fill: #9aa4ae; }
  .spread { stroke: #1f2328; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; } text { fill: #e6edf3; } .note { fill: #9198a1; }
    .ours { fill: #4493f8; } .theirs { fill: #656c76; } .spread { stroke: #e6edf3; }
  }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        value: The median; at least 0.
        low: The lowest value measured.
        high: The highest.
        text: The value for people, with what belongs to it.
    """

    label: str
    value: float
    low: float
    high: float
    text: str
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Bars that share a scale of their own."""

    heading: str
    bars: Sequence[Bar]


def draw_bars(title: str, notes: Sequence[str], groups: Sequence[Group]) -> str:
    """A picture as the text of an SVG file.

    Args:
        notes: Lines below the title: what, where and when.

    Raises:
        ValueError: There is nothing to draw.
    """
    if not any(group.bars for group in groups):
        raise ValueError(f"the picture {title!r} has no bars, expected at least one figure")
    parts = [_text(_MARGIN, 26, title, "title")]
    y = 26
    for note in notes:
        y += _LINE_HEIGHT
        parts.append(_text(_MARGIN, y, note, "note"))
    for group in groups:
        if group.bars:
            y += _HEADING_HEIGHT
            parts.append(_text(_MARGIN, y, group.heading, "heading"))
            parts += _draw_group(group, y + 6)
            y += 6 + _ROW_HEIGHT * len(group.bars)
    height = y + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" aria-label="{escape(title, _QUOTES)}">\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect class="page" width="{_WIDTH}" height="{height}" rx="6"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


_QUOTES = {'"': "&quot;"}


def _draw_group(group: Group, top: float) -> list[str]:
    highest = max(bar.high for bar in group.bars) or 1.0
    parts = []
    for number, bar in enumerate(group.bars):
        middle = top + _ROW_HEIGHT * number + _ROW_HEIGHT / 2
        length, low, high = (
            _BAR_WIDTH * value / highest for value in (bar.value, bar.low, bar.high)
        )
        kind = "ours" if bar.is_ours else "theirs"
        parts += [
            _text(_MARGIN, middle + 4, bar.label),
            f'<rect class="{kind}" x="{_BAR_LEFT}" y="{middle - 7:.1f}" '
            f'width="{max(length, 1):.1f}" height="14" rx="2"/>',
            _spread(_BAR_LEFT + low, _BAR_LEFT + high, middle),
            _text(_BAR_LEFT + _BAR_WIDTH + 8, middle + 4, bar.text),
        ]
    return parts


def _spread(low: float, high: float, middle: float) -> str:
    """A line from the lowest to the highest value, with its two ends."""
    return (
        f'<path class="spread" d="M{low:.1f} {middle - 4:.1f}v8M{low:.1f} {middle:.1f}'
        f'H{high:.1f}M{high:.1f} {middle - 4:.1f}v8"/>'
    )


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{marked}>{escape(words)}</text>'
