"""Runs side by side: what `forager compare RUN RUN ...` prints and writes.

Owns the words: tables of arms, of their differences and of single runs as Markdown, and the files that go with them.
Which runs make an arm is in arms.py, what is computed in comparison.py. Reads finished runs' folders only.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evo.records import HeldOut, Seconds
from evo.report import figures
from evo.report.arms import Arm, RunResult, group, read_result, told_apart
from evo.report.comparison import (
    AXES,
    LABELS,
    PARTS,
    Comparison,
    Contrast,
    Outcome,
    Split,
    compare_arms,
    levels,
    score_of,
)
from evo.report.comparison_page import SPLIT_NOTE, Told, render
from evo.report.headline import headline, tell
from evo.report.reading import read_seconds
from evo.report.statistics import Interval
from fitness.files import write_text_atomically

FOLDER = "comparison"
"""Beside the runs, unless said otherwise."""
_NAMED = 3
"""Arms that are named where a setting is told; of more, it is said how many."""
_SEED = 0
"""Of the intervals: the same runs give the same table."""


def write_comparison(folders: Sequence[Path], *, against: str | None = None, to: Path | None = None) -> str:
    """Compare arms of runs, write tables, pictures and numbers, and return the tables as Markdown.

    Args:
        folders: of finished runs, at least one.
        against: name of the arm that all others are compared with; None: all pairs.
        to: folder to write into; None: `comparison/` in the folder that holds all runs. What is there is renewed.

    Raises:
        OutputError: a folder has no summary.json, or one that cannot be read, or nothing can be written.
        ConfigError: `against` names no arm.
    """
    results = [read_result(folder) for folder in folders]
    comparison = compare_arms(group(results), np.random.default_rng(_SEED), against)
    place = to or Path(os.path.commonpath([folder.resolve().parent for folder in folders])) / FOLDER
    parts = [_tell_arms(comparison), _tell_settings([one.arm for one in comparison.outcomes]), _tell_runs(results)]
    text = "\n\n".join(part for part in parts if part)
    pictures = _draw(comparison)
    page = render(Told(comparison=comparison, results=results, pictures=pictures, place=place))
    files = {
        "comparison.json": comparison.to_json(headline(comparison)),
        "comparison.md": text + "\n",
        "report.html": page,
    }
    for name, content in files.items():
        write_text_atomically(place / name, content)
    for name, picture in pictures.items():
        write_text_atomically(place / f"{name}.svg", figures.to_file(picture))
    return f"{text}\n\nWritten to {place}\nLook at {place / 'report.html'}"


def _draw(comparison: Comparison) -> dict[str, str]:
    """Return the pictures by name."""
    outcomes = comparison.outcomes
    scores = {one.arm.name: (one.score, [score_of(run) for run in one.arm.runs]) for one in outcomes}
    drawn = {"scores": figures.draw_arms(scores, levels(comparison))}
    for axis in AXES:
        bands = {one.arm.name: one.bands[axis] for one in outcomes if axis in one.bands}
        if bands:
            drawn[axis] = figures.draw_bands(bands, axis, LABELS[axis])
    return drawn


def _tell_arms(comparison: Comparison) -> str:
    """Return what is said of arms, warnings first."""
    lines = [*(f"Warning: {warning}." for warning in comparison.warnings), *([""] if comparison.warnings else [])]
    lines += [headline(comparison), ""]
    heads = "| arm | runs | held-out score | area by decisions | area by FLOPs | decisions | FLOPs |"
    lines += [heads, "|---|---|---|---|---|---|---|"]
    lines += [_outcome_line(outcome) for outcome in comparison.outcomes]
    if comparison.contrasts:
        heads = "| arm | against | difference | chance to be better | p (Holm) | A |"
        lines += ["", heads, "|---|---|---|---|---|---|", *map(_contrast_line, comparison.contrasts)]
    if comparison.splits:
        heads = f"| where the gain sits | runs | {' | '.join(PARTS)} |"
        lines += ["", heads, "|---|---|---|---|---|---|", *map(_split_line, comparison.splits)]
    note = (
        "Score: interquartile mean over runs with its bootstrap 95% interval; area: mean height of the population's "
        "curve over the decisions, or FLOPs, that all runs spent; chance: that a run of the arm beats one of the "
        "other; p: Mann-Whitney, corrected by Holm; A: Vargha and Delaney's effect size."
    )
    if comparison.splits:
        note += f" Where the gain sits: {SPLIT_NOTE[0].lower()}{SPLIT_NOTE[1:]}"
    return "\n".join([*lines, "", note])


def _outcome_line(outcome: Outcome) -> str:
    areas = [tell(outcome.areas[axis]) if axis in outcome.areas else "-" for axis in AXES]
    cells = [outcome.arm.name, str(len(outcome.arm.runs)), tell(outcome.score), *areas]
    return _row([*cells, f"{outcome.decisions:,.0f}", f"{outcome.flops:.3g}"])


def _contrast_line(contrast: Contrast) -> str:
    effect = f"{contrast.effect.a:.2f} ({contrast.effect.magnitude})"
    chances = [tell(contrast.difference), tell(contrast.improvement), f"{contrast.corrected:.3g}", effect]
    return _row([contrast.first, contrast.second, *chances])


def _split_line(split: Split) -> str:
    return _row([split.arm, str(split.runs), *(tell(getattr(split, part)) for part in PARTS)])


def _tell_settings(arms: Sequence[Arm]) -> str:
    """Return what arms differ in, a line for each setting; nothing if there is one arm."""
    lines = [
        f"- {field}: {', '.join(f'{value} ({_names(names)})' for value, names in values.items())}"
        for field, values in told_apart(arms).items()
    ]
    return "\n".join(["The arms differ in:", "", *lines]) if lines else ""


def _names(names: Sequence[str]) -> str:
    """Return names in a row; of many how many they are."""
    return ", ".join(names) if len(names) <= _NAMED else f"{len(names)} arms"


def _tell_runs(results: Sequence[RunResult]) -> str:
    """Return one line for each run."""
    lines = [
        "| run | seed | frozen | evolved | evolved lifespan | decisions | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_run_line(result, read_seconds(result.folder)) for result in results)])


def _run_line(result: RunResult, seconds: Seconds | None) -> str:
    """Return one run's line."""
    summary = result.summary
    took = f"{seconds.wall:.0f}" if seconds else "-"
    scores = [_score(dict(summary.heldout)["frozen"]), _score(result.evolved)]
    counted = [f"{result.evolved.lifespan:.1f}", f"{summary.budget.decisions:,}", took]
    return _row([summary.run, str(summary.seed), *scores, *counted])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _score(row: HeldOut) -> str:
    """Return a score with its interval."""
    return tell(Interval(row.score, *row.ci))
