"""One figure each: from the records of runs to the text of an SVG that fits into a page, or into a file of its own.

Owns how figures look. Does not own where they stand (page.py) or where numbers come from (reading.py). Colours are
names of CSS variables, so that the page's light and dark style reach into every figure. To add a figure, write a
function that draws into `_canvas(...)` and returns `_to_svg(...)`.
"""

import html
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evo.records import GenerationRecord, HeldOut
from evo.report.ancestry import Ancestor
from evo.report.bands import Bands
from evo.report.comparison import Band
from evo.report.statistics import Interval
from evo.report.style import PALETTE
from evo.report.tree import Leaf
from evo.report.words import Verdict, Word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_POINTS = 300
"""Points of a curve; longer runs are thinned evenly, so that the page stays small."""

WIDE = 8.0
"""Inches of a figure that stands alone: at 800 pixels its text is as large as a page's small print."""
_PIXELS = 800 / (72 * WIDE)
"""Of a figure's point, in a file."""

# matplotlib wants real colours: these stand for CSS variables, which `_to_svg` puts in their place.
INK, MUTED, GRID = "#000001", "#000002", "#000003"
SERIES = tuple(f"#0000{number:02x}" for number in range(0x11, 0x19))
HEAT = tuple(f"#0000{number:02x}" for number in range(0x21, 0x27))
"""From the lowest to the highest."""
_VARIABLES = (
    {INK: "--ink", MUTED: "--muted", GRID: "--grid"}
    | {colour: f"--series-{index}" for index, colour in enumerate(SERIES, 1)}
    | {colour: f"--heat-{index}" for index, colour in enumerate(HEAT, 1)}
)
BLUE, ORANGE, GREEN, PURPLE, RED, BROWN, TEAL, PINK = SERIES

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # real text: smaller, searchable, and readable by a screen reader
    "text.parse_math": False,  # a cause of death may have a dollar sign
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 3,
}

Floats = NDArray[np.float64]
Records = Sequence[GenerationRecord]


def draw_heldout(heldout: Sequence[tuple[str, HeldOut]]) -> str:
    """Draw each policy's score with its interval."""
    with _style():
        figure, (axes,) = _canvas(height=0.55 + 0.32 * len(heldout))
        for place, (name, result) in enumerate(heldout):
            colour = ORANGE if name == "evolved" else BLUE
            axes.plot(result.ci, (place, place), color=colour, linewidth=3, alpha=0.45, solid_capstyle="round")
            axes.plot([result.score], [place], "o", color=colour, markersize=6)
        axes.set_yticks(range(len(heldout)), [name for name, _ in heldout])
        axes.invert_yaxis()
        axes.margins(y=0.25)
        axes.set_xlabel("score (0 = random policy, 1 = expert)")
        label = "; ".join(f"{name} {result.score:.2f}" for name, result in heldout)
        return _to_svg(figure, "heldout", f"Held-out scores with 95% intervals: {label}")


def draw_scores(records: Records, bands: Bands) -> str:
    """Draw best, median and mean score over the generations, between the yardstick's two ends, over members' bands."""
    with _style():
        figure, (axes,) = _canvas()
        _draw_bands(axes, bands)
        for level in (0.0, 1.0):
            axes.axhline(level, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        _name_level(axes, 0, "random", offset=3)
        _name_level(axes, 1, "expert", offset=-3)
        _lines(axes, records, {"best": "best", "median": "median", "mean": "mean"}, (ORANGE, BLUE, GREEN))
        axes.set_ylabel("score")
        label = f"from {records[0].median:.2f} to {records[-1].median:.2f}"
        return _to_svg(figure, "scores", f"Best, median and mean score by generation; the median goes {label}")


def draw_lifespans(records: Records, bands: Bands) -> str:
    """Draw best and mean lifespan over the generations, over the bands of single lives."""
    with _style():
        figure, (axes,) = _canvas()
        _draw_bands(axes, bands)
        _lines(axes, records, {"best": "best_lifespan", "mean": "mean_lifespan"}, (ORANGE, GREEN))
        axes.set_ylabel("decisions lived")
        axes.set_ylim(bottom=0)
        label = f"from {records[0].mean_lifespan:.1f} to {records[-1].mean_lifespan:.1f}"
        return _to_svg(figure, "lifespans", f"Best and mean lifespan by generation; the mean goes {label} decisions")


def draw_deaths(records: Records) -> str:
    """Draw the share of episodes that ended in each cause, as stacked areas."""
    totals: dict[str, int] = {}
    for cause, count in itertools.chain.from_iterable(record.deaths for record in records):
        totals[cause] = totals.get(cause, 0) + count
    met = [cause for cause, total in totals.items() if total]
    causes = sorted(met, key=lambda cause: (cause in ("outlived", "failed"), -totals[cause], cause))
    counts = np.array([[dict(record.deaths).get(cause, 0) for record in records] for cause in causes], float)
    shares = np.divide(counts, counts.sum(axis=0), out=np.zeros_like(counts), where=counts.sum(axis=0) > 0)
    palette = colours_of_ends(totals)
    colours = [palette[cause] for cause in causes]
    with _style():
        figure, (axes,) = _canvas()
        _stack(axes, records, dict(zip(causes, 100 * shares, strict=True)), colours)
        axes.set_ylim(0, 100)
        axes.set_ylabel("% of episodes")
        label = ", ".join(f"{cause} {100 * share:.0f}%" for cause, share in zip(causes, shares[:, -1], strict=True))
        return _to_svg(figure, "deaths", f"How episodes ended, by generation; in the last one: {label}")


def colours_of_ends(ends: Iterable[str]) -> dict[str, str]:
    """Return the colour of each way to end, by its name, so that it is the same in all pages."""
    palette = dict(
        zip(sorted(set(ends)), itertools.cycle((RED, BROWN, PURPLE, BLUE, TEAL, PINK, ORANGE)), strict=False)
    )
    return palette | {"outlived": GREEN, "failed": MUTED}


def as_variable(colour: str) -> str:
    """Return a colour of a figure as CSS has it."""
    return f"var({_VARIABLES[colour]})"


def draw_diversity(records: Records) -> str:
    """Draw how different strategies, adapters and behaviours are, and how many founders are left, each on its scale."""
    fields = {
        "strategies": ("strategy_diversity", PURPLE),
        "adapters": ("adapter_diversity", TEAL),
        "behaviour (bits)": ("behaviour_diversity", BLUE),
        "founders that count": ("founders", BROWN),
    }
    with _style():
        figure, panels = _canvas(rows=2, columns=2, height=3.8)
        for axes, (title, (field, colour)) in zip(panels, fields.items(), strict=True):
            _lines(axes, records, {"": field}, (colour,))
            axes.set_title(title)
            axes.set_ylim(bottom=0)
        return _to_svg(figure, "diversity", "Diversity of strategies, adapters, behaviour and founders by generation")


def draw_finetuning(records: Records) -> str:
    """Draw loss, divergence, effective sample size and what became of the tuned adapters."""
    with _style():
        figure, (loss, kl, ess, kept) = _canvas(rows=2, columns=2, height=3.8)
        for axes, field, colour in ((loss, "loss", BLUE), (kl, "kl", PURPLE), (ess, "ess", TEAL)):
            _lines(axes, records, {"": field}, (colour,))
        loss.set_title("loss")
        kl.set_title("KL (nats per decision)")
        ess.set_title("effective sample size (share)")
        ess.set_ylim(0, 1.05)
        kept.set_title("tuned adapters")
        why = dict.fromkeys(reason for record in records for reason, count in record.refusals if count)
        counts = {"accepted": _values(records, "accepted")} | {
            reason: np.array([dict(record.refusals).get(reason, 0) for record in records], float) for reason in why
        }
        _stack(kept, records, counts, (GREEN, RED, ORANGE, PURPLE, BROWN, PINK)[: len(counts)])
        return _to_svg(
            figure,
            "finetuning",
            "Fine-tuning by generation: loss, KL, effective sample, adapters kept and refused",
        )


def draw_seconds(records: Records) -> str:
    """Draw where the time of each generation went."""
    rollout, finetune = _values(records, "rollout_seconds"), _values(records, "finetune_seconds")
    rest = np.maximum(0, _values(records, "seconds") - rollout - finetune)
    with _style():
        figure, (axes,) = _canvas()
        _stack(axes, records, {"living": rollout, "fine-tuning": finetune, "other": rest}, (BLUE, ORANGE, MUTED))
        axes.set_ylabel("seconds")
        axes.set_ylim(bottom=0)
        return _to_svg(figure, "seconds", "Seconds of each generation: living, fine-tuning, other")


def draw_lineage(bands: Bands, line: Sequence[Ancestor]) -> str:
    """Draw the scores of all genomes as bands, and over them the line of descent of the best."""
    with _style():
        figure, (axes,) = _canvas()
        _draw_bands(axes, bands)
        births = [ancestor.born for ancestor in line]
        axes.plot(births, [a.last.score for a in line], "o-", color=ORANGE, label="line of the best", markersize=4)
        axes.set_ylabel("score")
        _finish(axes)
        return _to_svg(figure, "lineage", f"Scores of all genomes and of the {len(line)} in the line of the best one")


def draw_arms(scores: Mapping[str, tuple[Interval, Sequence[float]]], levels: Mapping[str, float]) -> str:
    """Draw by arm the held-out score with its interval, and its runs as dots, beside named levels."""
    with _style():
        figure, (axes,) = _canvas(height=0.75 + 0.34 * len(scores), width=WIDE)
        for place, (name, level) in enumerate(levels.items()):
            axes.axvline(level, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            side, shift = ("right", 4) if place == 0 else ("left", -4)  # the first two may be near each other
            axes.annotate(f"{name} {level:.2g}", (level, 1), xycoords=axes.get_xaxis_transform(), xytext=(shift, 3),
                          textcoords="offset points", horizontalalignment=side, color=MUTED)  # fmt: skip
        for place, (interval, runs) in enumerate(scores.values()):
            colour, _ = _look(place)
            ends: dict[str, Any] = {"color": colour, "linewidth": 4, "alpha": 0.45, "solid_capstyle": "round"}
            axes.plot(interval[1:], (place - 0.14, place - 0.14), **ends)
            axes.plot([interval.value], [place - 0.14], "o", color=colour, markersize=6.5)
            axes.plot(runs, [place + 0.2] * len(runs), "o", color=colour, alpha=0.55, markersize=3.5, markeredgewidth=0)
        names = [f"{name}   {interval.value:.2f}" for name, (interval, _) in scores.items()]
        axes.set_yticks(range(len(scores)), names)
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("held-out score; large: over runs, with 95% interval; small: every run")
        label = "; ".join(f"{name} {interval.value:.2f}" for name, (interval, _) in scores.items())
        return _to_svg(figure, "arms", f"Held-out scores by arm with 95% intervals over runs: {label}")


def draw_bands(bands: Mapping[str, Band], name: str, label: str) -> str:
    """Draw by arm the population's score against what was spent, with its interval, and its name at the curve's end."""
    with _style():
        height = max(3.6, 1.2 + 0.24 * len(bands))
        figure, (axes,) = _canvas(height=height, width=WIDE)
        for place, band in enumerate(bands.values()):
            colour, dashes = _look(place)
            axes.fill_between(band.spent, band.low, band.high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(band.spent, band.score, color=colour, linestyle=dashes)
        axes.set_ylabel("score of the population")
        _finish(axes, legend=False)
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value < 1e6 else f"{value:.3g}")
        axes.margins(x=0)
        _name_ends(axes, {arm: (float(band.spent[-1]), float(band.score[-1])) for arm, band in bands.items()}, height)
        ends = "; ".join(f"{arm} {band.score[-1]:.2f}" for arm, band in bands.items())
        return _to_svg(figure, f"by-{name}", f"Score of the population against {label}, by arm; at the end: {ends}")


def _name_ends(axes: "Axes", ends: Mapping[str, tuple[float, float]], inches: float) -> None:
    """Write the names of curves to the right of all, near their ends and apart from each other."""
    low, high = axes.get_ylim()
    room = (high - low) * 0.24 / (inches - 0.7)  # a line of text, in scores
    order = sorted(ends, key=lambda arm: ends[arm][1])
    heights = _spread([ends[arm][1] for arm in order], room, low, high)
    for arm, height in zip(order, heights, strict=True):
        colour, dashes = _look([*ends].index(arm))
        axes.annotate(arm, ends[arm], xytext=(1.03, height), textcoords=axes.get_yaxis_transform(), color=colour,
                      verticalalignment="center", annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": colour, "linestyle": dashes, "linewidth": 0.8,
                                  "shrinkA": 1, "shrinkB": 0})  # fmt: skip


def _spread(heights: Sequence[float], room: float, low: float, high: float) -> list[float]:
    """Return sorted heights moved apart until none is nearer than `room` to the next, inside the limits if they fit.

    Example: `_spread([0.5, 0.5], 0.2, 0.0, 1.0) == [0.4, 0.6]`
    """
    groups: list[tuple[float, int]] = []  # (middle, how many) of what stands at a distance of `room`
    for height in heights:
        groups.append((height, 1))
        while len(groups) > 1:
            (first, many), (second, more) = groups[-2:]
            if second - first >= room * (many + more) / 2 - 1e-12:
                break
            groups[-2:] = [((first * many + second * more) / (many + more), many + more)]
    moved = [middle + room * (one - (many - 1) / 2) for middle, many in groups for one in range(many)]
    for place in range(len(moved)):  # off the floor, then off the ceiling
        moved[place] = max(moved[place], low + room * place)
    for place in range(len(moved)):
        moved[-1 - place] = min(moved[-1 - place], high - room * place)
    return moved


def to_file(svg: str) -> str:
    """Return a figure as the text of a file that stands alone, light or dark as its reader likes.

    Where it is shown may be light while its reader asks for dark, so it has a ground of its own.
    """
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    width, height = (round(float(side) * _PIXELS) for side in box.groups()) if box else (0, 0)
    alone = svg.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"', 1)
    style = f"{PALETTE}\ntext {{ font-family: system-ui, sans-serif; }}"
    ground = '<rect width="100%" height="100%" rx="6" fill="var(--page)"/>'
    return re.sub(r"(<svg[^>]*>)", lambda head: f"{head[0]}<style>{style}</style>{ground}", alone, count=1)


def _look(place: int) -> tuple[str, str]:
    """Return colour and line of the curve at a place; every eight the colours come again."""
    return SERIES[place % len(SERIES)], ("-", "--", ":")[place // len(SERIES) % 3]


def draw_tree(leaves: Sequence[Leaf], best: int) -> str:
    """Draw who descends from whom: a point for each birth, coloured by its score, and a line from its first parent."""
    score = np.array([leaf.row.score for leaf in leaves], float)
    known = np.isfinite(score)
    low, high = (score[known].min(), score[known].max()) if known.any() else (0.0, 1.0)
    limits = np.linspace(low, high, len(HEAT) + 1)
    heat = np.clip(np.searchsorted(limits, score, side="right") - 1, 0, len(HEAT) - 1)
    points = np.array([(leaf.born, leaf.height) for leaf in leaves], float)
    size = 5 if len(leaves) < 200 else 3
    tuned = [leaf for leaf in leaves if leaf.row.operator == "finetune"]
    with _style():
        figure, (axes,) = _canvas(height=min(9.0, 3.2 + 0.04 * points[:, 1].max()), width=11.0)
        _edges(axes, points, [leaf for leaf in leaves if leaf not in tuned], color=MUTED, linewidth=0.6)
        _edges(axes, points, tuned, color=GREEN, linewidth=1.6, linestyle=(0, (3, 1)), label="fine-tuned")
        for level, colour in enumerate(HEAT):
            label = f"score {limits[level]:.2f} to {limits[level + 1]:.2f}"
            axes.plot(*points[known & (heat == level)].T, "o", color=colour, markersize=size, label=label)
        axes.plot(*points[~known].T, "o", color=MUTED, markersize=size, markerfacecolor="none")
        ring = [place for place, leaf in enumerate(leaves) if leaf.row.id == best]
        axes.plot(*points[ring].T, "o", color=INK, markersize=9, markerfacecolor="none", label="the best")
        axes.set_yticks([])
        axes.grid(visible=False, axis="y")
        _finish(axes, reverse=True)
        label = f"{len(leaves)} births, {len(tuned)} of them by fine-tuning, by generation and coloured by score"
        return _to_svg(figure, "tree", f"Who descends from whom: {label}")


def draw_words(verdict: Verdict) -> str:
    """Draw how common the clauses that won (left) and lost (right) were, among all and among those who were left."""
    rows = max(len(verdict.won), len(verdict.lost))
    with _style():
        figure, panels = _canvas(rows=rows, columns=2, height=0.4 + 1.25 * rows)
        for column, words in enumerate((verdict.won, verdict.lost)):
            for row in range(rows):
                axes = panels[2 * row + column]
                if row < len(words):
                    _draw_word(axes, words[row], ORANGE if words is verdict.lost else GREEN)
                else:
                    axes.set_axis_off()
        said = [", ".join(word.clause for word in words) or "none" for words in (verdict.won, verdict.lost)]
        return _to_svg(figure, "words", f"Clauses that won: {said[0]} Clauses that lost: {said[1]}")


def _draw_word(axes: "Axes", word: Word, colour: str) -> None:
    kept = _thin(len(word.among_all))
    left = kept[kept < len(word.among_left)]
    axes.plot(kept, 100 * np.array(word.among_all)[kept], color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
    axes.plot(left, 100 * np.array(word.among_left)[left], color=colour, marker="o" if len(left) <= 40 else "")
    axes.set_title(word.clause if len(word.clause) <= 32 else f"{word.clause[:30]}...")
    axes.set_ylim(-4, 104)
    axes.set_yticks([0, 50, 100], ["0", "50", "100%"])
    _finish(axes, legend=False)
    axes.set_xlabel("")


def _edges(axes: "Axes", points: Floats, children: Sequence[Leaf], **style: Any) -> None:
    """Draw the lines of some births from their first parents, all as one path."""
    ends = [((leaf.born, leaf.height), points[leaf.parent]) for leaf in children if leaf.parent is not None]
    path = np.array([point for child, parent in ends for point in (parent, child, (np.nan, np.nan))], float)
    axes.plot(*path.reshape(-1, 2).T, zorder=1, **style)


def _draw_bands(axes: "Axes", bands: Bands) -> None:
    """Draw the middle half and the middle 80% of what bands are made of."""
    generations = sorted(bands)
    generations = [generations[index] for index in _thin(len(generations))]
    if not generations:
        return
    limits = np.array([bands[generation] for generation in generations]).T
    if len(generations) > 1:
        axes.fill_between(generations, limits[0], limits[3], color=BLUE, alpha=0.15, linewidth=0, label="middle 80%")
        axes.fill_between(generations, limits[1], limits[2], color=BLUE, alpha=0.25, linewidth=0, label="middle half")
    else:  # an area has no width over a single generation
        axes.vlines(generations, limits[0], limits[3], color=BLUE, alpha=0.3, linewidth=6, label="middle 80%")
        axes.vlines(generations, limits[1], limits[2], color=BLUE, alpha=0.5, linewidth=6, label="middle half")


def _style() -> AbstractContextManager[None]:
    import matplotlib as mpl

    style: AbstractContextManager[None] = mpl.rc_context(_STYLE)
    return style


def _canvas(rows: int = 1, columns: int = 1, height: float = 2.7, width: float = 4.8) -> tuple["Figure", list["Axes"]]:
    # Figure and not pyplot: no global state, no display, usable from any thread.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.ravel(figure.subplots(rows, columns)))


def _values(records: Records, field: str) -> Floats:
    return np.array([getattr(record, field) for record in records], float)


def _thin(count: int) -> NDArray[np.int64]:
    """Return at most `MAX_POINTS` indices, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_POINTS)).round().astype(np.int64))


def _lines(axes: "Axes", records: Records, fields: dict[str, str], colours: Sequence[str]) -> None:
    """Draw one curve per (label, field); a short run shows its points."""
    kept = _thin(len(records))
    x = _values(records, "generation")[kept]
    marker = "o" if len(kept) <= 40 else ""
    for (label, field), colour in zip(fields.items(), colours, strict=True):
        axes.plot(x, _values(records, field)[kept], color=colour, label=label, marker=marker)
    _finish(axes, legend=len(fields) > 1)


def _name_level(axes: "Axes", level: float, name: str, *, offset: int) -> None:
    """Write what a horizontal line stands for at its right end, `offset` points above (or below) it."""
    axes.annotate(
        name,
        (1, level),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        xytext=(-2, offset),
        horizontalalignment="right",
        verticalalignment="bottom" if offset > 0 else "top",
        color=MUTED,
        fontsize=8,
    )


def _stack(axes: "Axes", records: Records, layers: dict[str, Any], colours: Sequence[str]) -> None:
    """Draw layers one on the other; a run of one generation is a single bar."""
    kept = _thin(len(records))
    x = _values(records, "generation")[kept]
    values = [np.nan_to_num(np.asarray(layer, float)[kept]) for layer in layers.values()]
    if len(kept) > 1:
        axes.stackplot(x, values, labels=list(layers), colors=colours, alpha=0.8, linewidth=0)
        axes.margins(x=0)
    else:
        bottoms = np.cumsum([np.zeros(1), *values[:-1]], axis=0)
        for label, value, bottom, colour in zip(layers, values, bottoms, colours, strict=True):
            axes.bar(x, value, width=0.4, bottom=bottom, label=label, color=colour, alpha=0.8)
    _finish(axes, reverse=True)  # the legend reads from the top down, as the layers lie


def _finish(axes: "Axes", *, legend: bool = True, reverse: bool = False) -> None:
    """Name the horizontal axis, keep its ticks whole, and put the legend where it hides nothing."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("generation")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set_axisbelow(True)
    left, right = axes.dataLim.intervalx
    if not np.isfinite(right - left):  # nothing to draw
        axes.set_xticks([])
    elif right - left < 1:  # a single generation: a tick of its own and air on both sides
        middle = round((left + right) / 2)
        axes.set_xlim(middle - 0.5, middle + 0.5)
        axes.set_xticks([middle])
    if legend:
        above = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1), "ncols": 4 if len(axes.get_lines()) > 4 else 3}
        beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "reverse": reverse}
        axes.legend(handlelength=1.2, columnspacing=1.2, **(beside if axes.get_title("left") else above))


def _to_svg(figure: "Figure", name: str, label: str) -> str:
    """Return the figure as SVG text for a page: no references outside it, ids of its own, colours by variable."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):  # the same run gives the same page
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    text = re.sub(r"font-family: [^;]*; ", "", text)  # the page's own
    text = re.sub("|".join(_VARIABLES), lambda match: f"var({_VARIABLES[match[0]]})", text)
    return _headed(text, label)


def _headed(svg: str, label: str) -> str:
    head = f'<svg role="img" aria-label="{html.escape(label)}"'
    return re.sub(r"<svg(?: (?:width|height)=\"[^\"]*\")*", head, svg, count=1)
