"""Small drawings that are as wide as there is room, with text that stays as large as the page's.

Owns scales, strips (an interval and dots on a line), bars in shares and panels (one curve before the others). Places
are percentages, so that nothing is stretched on a wide screen or too small to read on a phone; for figures that are
drawn once and scaled as a whole, see figures.py. Labels are plain texts and escaped here. Colours are CSS variables.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from evo.report.comparison import Band
from evo.report.figures import SERIES
from evo.report.statistics import Interval

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Between marks of a scale, times a power of ten."""
_MARKS = 5
"""Of a scale, about."""


@dataclass(frozen=True)
class Scale:
    """What a drawing's left and right end, or bottom and top, stand for."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float], *, margin: float = 0.04) -> "Scale":
        """Return the scale that shows all numbers that are finite, with a margin of this share on either side."""
        known = [value for value in values if math.isfinite(value)]
        low, high = min(known, default=0.0), max(known, default=1.0)
        room = margin * ((high - low) or 1.0)
        return cls(low - room, high + room)

    def place(self, value: float) -> float:
        """Return where a number stands, in percent."""
        return 100 * (value - self.low) / (self.high - self.low)

    def marks(self) -> list[float]:
        """Return round numbers inside the scale, a few of them.

        Example: `Scale(-0.1, 1.1).marks() == [0.0, 0.25, 0.5, 0.75, 1.0]`
        """
        rough = (self.high - self.low) / _MARKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * one for one in _STEPS if power * one >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(step * number, 12) for number in range(first, last + 1)]


def colour(place: int) -> str:
    """Return the colour of the arm at a place, the same in every drawing; every eight the colours come again."""
    return f"var(--series-{place % len(SERIES) + 1})"


def axis(scale: Scale) -> str:
    """Return the numbers under strips of a scale."""
    texts = "".join(
        f'<text x="{scale.place(mark):.2f}%" y="1em" text-anchor="middle">{mark:g}</text>' for mark in scale.marks()
    )
    return f'<svg class="axis" aria-hidden="true">{texts}</svg>'


def strip(label: str, scale: Scale, interval: Interval, paint: str, dots: Sequence[float] = (), *,
          lines: Iterable[float] = ()) -> str:  # fmt: skip
    """Return an estimate with its interval, and single values as dots beneath it.

    Args:
        label: what a screen reader says.
        scale: of all strips that stand under each other.
        interval: one with ends that are NaN is a point.
        paint: CSS colour.
        dots: single values.
        lines: where upright lines are drawn.
    """
    parts = [_line("mark", scale.place(mark)) for mark in scale.marks()]
    parts += [_line("level", scale.place(level)) for level in lines]
    middle = "35%" if len(dots) else "50%"
    parts += [f'<circle class="dot" cx="{scale.place(dot):.2f}%" cy="75%" r="3.5"/>' for dot in dots]
    if math.isfinite(interval.low):
        ends = f'x1="{scale.place(interval.low):.2f}%" x2="{scale.place(interval.high):.2f}%"'
        parts.append(f'<line class="range" {ends} y1="{middle}" y2="{middle}"/>')
    parts.append(f'<circle cx="{scale.place(interval.value):.2f}%" cy="{middle}" r="5"/>')
    kind = "strip tall" if len(dots) else "strip"
    return f'<svg class="{kind}" style="color:{paint}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def shares(label: str, parts: Sequence[tuple[float, str]]) -> str:
    """Return a bar of parts beside each other.

    Args:
        label: what a screen reader says.
        parts: (share, CSS colour) of each; the shares sum to 1 at most.
    """
    drawn, left = [], 0.0
    for share, paint in parts:
        if share > 0:
            drawn.append(f'<rect x="{100 * left:.2f}%" width="{100 * share:.2f}%" height="100%" fill="{paint}"/>')
        left += share
    return f'<svg class="shares" role="img" aria-label="{escape(label)}">{"".join(drawn)}</svg>'


def columns(label: str, stacks: Sequence[Sequence[tuple[float, str]]]) -> str:
    """Return stacks of parts beside each other, from the bottom up.

    Args:
        label: what a screen reader says.
        stacks: of each column (share, CSS colour) of each part; the shares of a column sum to 1 at most.
    """
    drawn, width = [], 100 / max(1, len(stacks))
    for place, stack in enumerate(stacks):
        top = 100.0
        for share, paint in stack:
            top -= 100 * share
            size = f'width="{width:.2f}" height="{100 * share:.2f}"'
            drawn += [f'<rect x="{place * width:.2f}" y="{top:.2f}" {size} fill="{paint}"/>'] if share > 0 else []
    return (
        f'<div class="panel"><svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}" shape-rendering="crispEdges">{"".join(drawn)}</svg></div>'
    )


def crowd(name: str, bands: Iterable[Band], across: Scale, up: Scale) -> str:
    """Return all curves as something that panels draw from; `name` is an id."""
    lines = "".join(f'<polyline points="{_points(one.spent, one.score, across, up)}"/>' for one in bands)
    return f'<svg class="crowd" aria-hidden="true"><defs><g id="{name}">{lines}</g></defs></svg>'


def panel(label: str, name: str, band: Band, across: Scale, up: Scale, paint: str) -> str:
    """Return one curve with its band before the crowd `name`, with the upright scale beside it."""
    known = math.isfinite(band.low[0])
    there = [*band.spent, *band.spent[::-1]], [*band.low, *band.high[::-1]]
    area = f'<polygon points="{_points(*there, across, up)}"/>' if known else ""
    marks = [mark for mark in up.marks() if up.place(mark) > 1]
    grid = "".join(f'<line class="mark" x1="0" x2="100" y1="{_flip(up, m)}" y2="{_flip(up, m)}"/>' for m in marks)
    drawn = f'{grid}<use href="#{name}"/>{area}<polyline points="{_points(band.spent, band.score, across, up)}"/>'
    numbers = "".join(f'<span style="top:{_flip(up, mark)}%">{mark:g}</span>' for mark in marks)
    return (
        f'<div class="panel" style="color:{paint}"><svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{drawn}</svg>{numbers}</div>'
    )


def _line(kind: str, place: float) -> str:
    return f'<line class="{kind}" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="100%"/>'


def _flip(up: Scale, value: float) -> str:
    """Return a height as the distance from the top."""
    return f"{100 - up.place(value):.2f}"


def _points(xs: Iterable[float], ys: Iterable[float], across: Scale, up: Scale) -> str:
    return " ".join(f"{across.place(x):.2f},{_flip(up, y)}" for x, y in zip(xs, ys, strict=True))
