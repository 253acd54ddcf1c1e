"""A chart of how the scores of a population spread: bands around the median, over generations and over decisions.

Owns how the chart looks. A page of its own that needs nothing outside itself, drawn without matplotlib, whose settings
are the whole process's and this is drawn beside a run at work.
"""

import math
from collections.abc import Callable, Sequence

from evo.report.style import PALETTE
from evo.tracking.history import Spread

POINTS = 300
"""Of a curve, at most; longer runs are thinned evenly, so that the page stays small."""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 480, 240, 44, 34, 12, 12
_STYLE = """
body { margin: 0; background: var(--page); color: var(--ink); font: 13px/1.4 system-ui, sans-serif; }
main { display: flex; flex-wrap: wrap; gap: 1rem; padding: 0.5rem; }
svg { flex: 1 1 24rem; max-width: 44rem; }
text { fill: var(--muted); font-size: 11px; }
.axis { stroke: var(--grid); }
.level { stroke: var(--muted); stroke-dasharray: 4 3; }
.outer { fill: var(--series-1); opacity: 0.18; }
.inner { fill: var(--series-1); opacity: 0.35; }
.median { fill: none; stroke: var(--series-1); stroke-width: 2; }
p { color: var(--muted); margin: 0 0.5rem; }
"""


def draw_bands(spreads: Sequence[Spread]) -> str:
    """Return the page; generations of which nothing is known are left out."""
    known = [one for one in spreads if all(map(math.isfinite, one.scores))]
    known = [known[round(i * (len(known) - 1) / (POINTS - 1))] for i in range(POINTS)] if len(known) > POINTS else known
    charts = _chart(known, "generation", lambda one: one.generation) + _chart(
        known, "decisions", lambda one: one.decisions
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><style>{PALETTE}{_STYLE}</style></head><body>\n'
        f"<main>{charts}</main>\n<p>Scores of the population's members over all their worlds so far: median, the "
        "middle half and the middle 90%. 0 is the random policy, 1 the expert.</p>\n</body></html>\n"
    )


def _chart(spreads: Sequence[Spread], axis: str, place: Callable[[Spread], float]) -> str:
    if not spreads:
        return f"<p>Nothing is known yet over {axis}.</p>"
    places = [float(place(one)) for one in spreads]
    low = min(0.0, *(one.scores[0] for one in spreads))
    high = max(1.0, *(one.scores[-1] for one in spreads))
    begin, end = min(places), max(places)

    def x(value: float) -> float:
        share = (value - begin) / (end - begin) if end > begin else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _BOTTOM - _TOP)

    def line(quantile: int) -> list[str]:
        return [f"{x(at):.1f},{y(one.scores[quantile]):.1f}" for at, one in zip(places, spreads, strict=True)]

    bands = "".join(
        f'<polygon class="{name}" points="{" ".join([*line(upper), *reversed(line(lower))])}"/>'
        for name, lower, upper in (("outer", 0, 4), ("inner", 1, 3))
    )
    levels = "".join(
        f'<line class="{"level" if value in (0, 1) else "axis"}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" '
        f'y1="{y(value):.1f}" y2="{y(value):.1f}"/><text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" '
        f'text-anchor="end">{value:.2g}</text>'
        for value in dict.fromkeys((low, 0.0, 0.5, 1.0, high))
        if value in (0.0, 0.5, 1.0) or min(abs(value - one) for one in (0.0, 0.5, 1.0)) > (high - low) / 15
    )
    ends = "".join(
        f'<text x="{x(value):.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="{anchor}">{value:,.0f}</text>'
        for value, anchor in {begin: "start", end: "end"}.items()
    )
    label = f"score by {axis}: the median goes from {spreads[0].scores[2]:.2f} to {spreads[-1].scores[2]:.2f}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{levels}{bands}'
        f'<polyline class="median" points="{" ".join(line(2))}"/>{ends}'
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{axis}</text></svg>'
    )
