"""Puts a comparison's report together: one page about arms that needs nothing outside itself.

Owns what stands where, and the words. Every text that comes from runs is escaped, here or in the parts. Does not own
what is computed (comparison.py), the sentence on top (headline.py), the parts of pages (parts.py), small drawings
(marks.py) or figures (figures.py). To add a section, write a function from `Told` to HTML (empty if there is nothing to
show) and name it in `_SECTIONS`.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from evo.report import figures, marks
from evo.report.arms import RunResult, told_apart
from evo.report.comparison import AXES, LABELS, PARTS, Comparison, Contrast, Outcome, levels, score_of
from evo.report.headline import headline, is_told, tell
from evo.report.parts import Html, as_html, details, document, figure, number, section, table
from evo.report.reading import read_seconds
from evo.report.statistics import Interval

MAX_PAIRS = 15
"""Pairs whose table is open at first; of more, those with the best arm are, and all are folded away."""
MAX_RUNS = 20
"""Runs whose table is open at first."""
_UNITS = {"decisions": "decisions", "flops": "FLOPs"}
SPLIT_NOTE = (
    "Prompt: the best genome's prompt on the model as it is, less a prompt that nobody chose; "
    "weights: its weights with that prompt, less the model as it is; interaction: what both have together beyond the "
    "sum. Means over runs with bootstrap 95% intervals."
)
_HEADS = ("arm", "against", "difference", "", "chance to be better", "p (Holm)", "A")


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a page is about."""

    comparison: Comparison
    results: Sequence[RunResult]
    """All runs, in the order given."""
    pictures: Mapping[str, str]
    """Figures as SVG, by what curves are drawn against."""
    place: Path
    """The folder that the page is written to: links to runs are relative to it."""


def render(told: Told) -> str:
    """Return the page as HTML text."""
    body = "\n".join(show(told) for show in _SECTIONS)
    return document(f"Comparison of {_count(told)}", body)


def _count(told: Told) -> str:
    arms, runs = len(told.comparison.outcomes), len(told.results)
    return f"{arms} arm{'s' * (arms > 1)} in {runs} run{'s' * (runs > 1)}"


def _show_head(told: Told) -> str:
    environments = sorted({one.summary.environment for one in told.results})
    facts = [f"environment {', '.join(environments)}", *(f"against {one}" for one in [told.comparison.against] if one)]
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in told.comparison.warnings)
    notice = f'\n<div class="notice" role="note"><ul>{warnings}</ul></div>' if warnings else ""
    return (
        f'<h1>{_count(told)}</h1>\n<p class="facts">{escape(" - ".join(facts))}</p>\n'
        f'<p class="headline">{escape(headline(told.comparison))}</p>{notice}'
    )


def _show_scores(told: Told) -> str:
    outcomes = told.comparison.outcomes
    beside = levels(told.comparison)
    runs = [score_of(run) for one in outcomes for run in one.arm.runs]
    ends = [end for one in outcomes for end in one.score]
    scale = marks.Scale.over([*runs, *ends, *beside.values()])
    rows = []
    for place, one in enumerate(outcomes):
        dots = [score_of(run) for run in one.arm.runs]
        said = f"{one.arm.name}: {tell(one.score)}; runs {', '.join(f'{dot:.2f}' for dot in sorted(dots))}"
        drawn = marks.strip(said, scale, one.score, marks.colour(place), dots, lines=beside.values())
        rows.append(_strip_row(one.arm.name, drawn, tell(one.score)))
    dashed = ", ".join(f"{name} ({level:.2f})" for name, level in beside.items())
    note = (
        "Score on seeds that neither selected nor trained: (mean lifespan - random) / (expert - random). Large: "
        f"interquartile mean over runs with its bootstrap 95% interval; small: every run. Dashed: {escape(dashed)}."
    )
    return section("Held-out scores", f'<p class="muted">{note}</p>\n{_strips(rows, scale)}\n{_arms(outcomes)}')


def _arms(outcomes: Sequence[Outcome]) -> str:
    """Return the numbers by arm."""
    rows = []
    for one in outcomes:
        areas = [tell(one.areas[axis]) if axis in one.areas else "-" for axis in AXES]
        spent = [f"{one.decisions:,.0f}", f"{one.flops:.3g}"]
        rows.append([one.arm.name, str(len(one.arm.runs)), tell(one.score), *areas, *spent])
    heads = ["arm", "runs", "held-out score", "area by decisions", "area by FLOPs", "decisions", "FLOPs"]
    note = (
        "Area: mean height of the curve of the population's score, over the stretch that all runs went through. "
        "Decisions and FLOPs (deciding and fine-tuning): mean over runs."
    )
    return f'{table(heads, rows, numeric=(1, 2, 3, 4, 5, 6))}\n<p class="muted">{note}</p>'


def _show_split(told: Told) -> str:
    splits = told.comparison.splits
    if not splits:
        return ""
    scale = marks.Scale.over([0.0, *(end for one in splits for part in PARTS for end in getattr(one, part))])
    rows = []
    for one in splits:
        for part in PARTS:
            gain: Interval = getattr(one, part)
            paint = "var(--ink)" if part == "whole" else f"var(--series-{1 + PARTS.index(part)})"
            drawn = marks.strip(f"{one.arm}, {part}: {tell(gain)}", scale, gain, paint, lines=(0.0,))
            begin = (one.arm, str(one.runs)) if part == PARTS[0] else ("", "")
            rows.append([*begin, part, tell(gain), Html(drawn)])
    heads = ["arm", "runs", "part", "gain", ""]
    drawn_table = table(heads, rows, numeric=(1, 3), main=lambda cells: cells[2] == "whole")
    return section("Where the gain sits", f'<p class="muted">{escape(SPLIT_NOTE)}</p>\n{drawn_table}')


def _show_pairs(told: Told) -> str:
    contrasts = told.comparison.contrasts
    if not contrasts:
        return ""
    scale = marks.Scale.over([0.0, *(end for one in contrasts for end in one.difference)])
    note = (
        "Difference of interquartile means (first less second), and the chance that a run of the first beats one of "
        "the second, with bootstrap 95% intervals; p: Mann-Whitney, corrected by Holm for all pairs shown; A: Vargha "
        "and Delaney's effect size. <strong>Bold</strong>: a difference is told."
    )
    best = told.comparison.outcomes[0].arm.name
    first = [one for one in contrasts if best in (one.first, one.second)]
    if len(contrasts) <= MAX_PAIRS:
        body = _pairs(contrasts, scale)
    else:
        body = f"{_pairs(first, scale)}\n{details(f'All {len(contrasts)} pairs', _pairs(contrasts, scale))}"
    return section("Differences", f'<p class="muted">{note}</p>\n{body}')


def _pairs(contrasts: Sequence[Contrast], scale: marks.Scale) -> str:
    rows = [_pair(one, scale) for one in contrasts]
    bold = {id(row) for row, one in zip(rows, contrasts, strict=True) if is_told(one)}
    return table(_HEADS, rows, numeric=(2, 4, 5, 6), main=lambda cells: id(cells) in bold)


def _pair(one: Contrast, scale: marks.Scale) -> list[str]:
    said = f"{one.first} less {one.second}: {tell(one.difference)}"
    paint = "var(--series-1)" if is_told(one) else "var(--muted)"
    drawn = Html(marks.strip(said, scale, one.difference, paint, lines=(0.0,)))
    effect = f"{one.effect.a:.2f} ({one.effect.magnitude})"
    return [one.first, one.second, tell(one.difference), drawn, tell(one.improvement), f"{one.corrected:.3g}", effect]


def _show_curves(told: Told) -> str:
    parts = [_curves(told, axis) for axis in AXES]
    note = (
        "Mean score of the population, on worlds that had chosen nobody yet: interquartile mean over runs, bootstrap "
        "95% interval as a band."
    )
    body = "\n".join([f'<p class="muted">{note}</p>', *parts])
    return section("Curves", f'<div class="whole">{body}</div>') if any(parts) else ""


def _curves(told: Told, axis: str) -> str:
    """Return all curves in one figure, and each before the others."""
    bands = {place: one.bands[axis] for place, one in enumerate(told.comparison.outcomes) if axis in one.bands}
    if not bands:
        return ""
    names = {place: told.comparison.outcomes[place].arm.name for place in bands}
    whole = figure(f"Score against {LABELS[axis]}", f'<div class="scroll wide">{told.pictures[axis]}</div>', "")
    across = marks.Scale.over([0.0, *(end for band in bands.values() for end in (*band.spent,))], margin=0.0)
    heights = [end for band in bands.values() for end in (*band.low, *band.high, *band.score)]
    up = marks.Scale.over([0.0, *heights], margin=0.08)
    ends = f'<p class="ends"><span>0</span><span>{_spent(across.high)} {_UNITS[axis]}</span></p>'
    small = []
    for place, band in bands.items():
        label = (
            f"{names[place]}: score of the population against {axis}, from {band.score[0]:.2f} to {band.score[-1]:.2f}"
        )
        small.append(
            _panel(names[place], marks.panel(label, f"crowd-{axis}", band, across, up, marks.colour(place)), ends)
        )
    crowd = marks.crowd(f"crowd-{axis}", bands.values(), across, up)
    panels = f'<div class="panels">{"".join(small)}</div>'
    return f"{whole}\n{crowd}{details(f'Each arm before all others, against {LABELS[axis]}', panels, shown=True)}"


def _panel(name: str, drawn: str, ends: str) -> str:
    return f"<figure><h3>{escape(name)}</h3>{drawn}{ends}</figure>"


def _spent(value: float) -> str:
    return f"{value:,.0f}" if value < 1e9 else f"{value:.2g}"


def _show_deaths(told: Told) -> str:
    over_time = {one.arm.name: _ends(one) for one in told.comparison.outcomes}
    known = {name: ends for name, ends in over_time.items() if ends and ends[-1].total()}
    if not known:
        return ""
    totals = sum((one for ends in known.values() for one in ends), Counter[str]())
    causes = sorted(
        (end for end in totals if totals[end]), key=lambda end: (end in ("outlived", "failed"), -totals[end], end)
    )
    colours = {end: figures.as_variable(paint) for end, paint in figures.colours_of_ends(_all_ends(told)).items()}
    rows, numbers, panels = [], [], []
    for name, ends in known.items():
        shares = _shares(ends[-1], causes)
        said = f"{name}: " + ", ".join(f"{cause} {100 * share:.0f}%" for cause, share in shares.items())
        drawn = marks.shares(said, [(share, colours[cause]) for cause, share in shares.items()])
        rows.append(_strip_row(name, drawn, f"{100 * shares.get('outlived', 0.0):.0f}% outlived"))
        numbers.append([name, *(f"{100 * share:.0f}%" for share in shares.values())])
        panels.append(_panel(name, *_deaths_over_time(name, ends, causes, colours)))
    key = "".join(f'<li><span style="background:{colours[one]}"></span>{escape(one)}</li>' for one in causes)
    note = "Share of the lives of each arm's last generations, over all its runs."
    time = details("Generation by generation", f'<div class="panels">{"".join(panels)}</div>', shown=True)
    body = f'<p class="muted">{note}</p>\n<ul class="key">{key}</ul>\n{_strips(rows)}\n{time}'
    heads = ["arm", *causes]
    return section(
        "How lives ended", f"{body}\n{details('In numbers', table(heads, numbers, numeric=range(1, len(heads))))}"
    )


def _deaths_over_time(
    name: str, ends: Sequence[Counter[str]], causes: Sequence[str], colours: Mapping[str, str]
) -> tuple[str, str]:
    """Return a column for each generation, and what stands under them."""
    stacks = [[(share, colours[cause]) for cause, share in _shares(one, causes).items()] for one in ends]
    outlived = [f"{100 * _shares(one, causes).get('outlived', 0.0):.0f}%" for one in (ends[0], ends[-1])]
    drawn = marks.columns(f"{name}: how lives ended by generation; outlived {' to '.join(outlived)}", stacks)
    return drawn, f'<p class="ends"><span>generation 1</span><span>{len(ends)}</span></p>'


def _shares(ends: Counter[str], causes: Sequence[str]) -> dict[str, float]:
    """Return each cause's share of all ends."""
    return {cause: ends[cause] / max(1, ends.total()) for cause in causes}


def _ends(outcome: Outcome) -> list[Counter[str]]:
    """Count by generation how lives of an arm's runs ended; the last is each run's last, the first generation all's."""
    runs = [[Counter(dict(record.deaths)) for record in run.generations] for run in outcome.arm.runs]
    runs = [run for run in runs if run]
    if not runs:
        return []
    before = min(map(len, runs)) - 1
    grown = [sum((run[place] for run in runs), Counter[str]()) for place in range(before)]
    return [*grown, sum((run[-1] for run in runs), Counter[str]())]


def _all_ends(told: Told) -> set[str]:
    """Return the ways to end that runs know of, met or not: colours go by them."""
    return {end for run in told.results for record in run.generations[-1:] for end, _ in record.deaths}


def _show_differences(told: Told) -> str:
    arms = [one.arm for one in told.comparison.outcomes]
    rows = []
    for field, values in told_apart(arms).items():
        for place, (value, names) in enumerate(values.items()):
            rows.append(["" if place else field, value, ", ".join(names)])
    if not rows:
        return ""
    note = "Where one arm has another component, that component's own settings go without saying."
    return section(
        "What the runs differ in",
        f'<p class="muted">{note}</p>\n{table(["setting", "value", "arms"], rows, text=(1, 2))}',
    )


def _show_runs(told: Told) -> str:
    arms = {run.folder: one.arm.name for one in told.comparison.outcomes for run in (*one.arm.runs, *one.arm.repeated)}
    rows = []
    for run in told.results:
        seconds = read_seconds(run.folder)
        born = dict(run.summary.heldout)["frozen"]
        told_scores = [tell(Interval(row.score, *row.ci)) for row in (born, run.evolved)]
        counted = [number(run.evolved.lifespan, 1), f"{run.summary.budget.decisions:,}"]
        took = f"{seconds.wall:,.0f}" if seconds else "-"
        rows.append([_link(run, told.place), arms[run.folder], str(run.summary.seed), *told_scores, *counted, took])
    heads = ["run", "arm", "seed", "frozen", "evolved", "evolved lifespan", "decisions", "seconds"]
    body = table(heads, rows, numeric=range(2, 8))
    return section("Runs", details(f"{len(rows)} runs", body, shown=len(rows) <= MAX_RUNS))


def _link(run: RunResult, place: Path) -> str:
    """Return a run's name as a link to its own page, if it has one."""
    name = run.summary.run
    page = run.folder.resolve() / "report.html"
    if not page.is_file():
        return name
    return Html(f'<a href="{escape(quote(os.path.relpath(page, place.resolve())))}">{escape(name)}</a>')


def _strips(rows: Sequence[str], scale: marks.Scale | None = None) -> str:
    """Return rows under each other, with the numbers of their scale at the foot."""
    foot = f'<li aria-hidden="true"><span></span>{marks.axis(scale)}<span></span></li>' if scale else ""
    return f'<ul class="strips">{"".join(rows)}{foot}</ul>'


def _strip_row(name: str, drawn: str, value: str) -> str:
    return f'<li><span class="name">{as_html(name)}</span>{drawn}<span class="value">{as_html(value)}</span></li>\n'


_SECTIONS: tuple[Callable[[Told], str], ...] = (
    _show_head,
    _show_scores,
    _show_split,
    _show_pairs,
    _show_curves,
    _show_deaths,
    _show_differences,
    _show_runs,
)
