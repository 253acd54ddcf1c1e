"""What arms come to, and how surely they differ.

Owns which statistic is taken of what: of each arm the held-out score of its runs, of each pair the difference, and the
curves against what was spent. The formulas are in statistics.py, differences.py and curves.py; words and files in
compare.py. Intervals and tests are over runs: a run is one observation, however many lives were lived in it.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evo.records import GenerationRecord, finite
from evo.report.arms import Arm, RunResult
from evo.report.curves import Curve, area_under
from evo.report.differences import Effect, difference, holm, mann_whitney, probability_of_improvement, vargha_delaney
from evo.report.statistics import Floats, Interval, mean, stratified_interval
from fitness.errors import ConfigError, nearest

SCHEMA = 3
"""Of comparison.json; raised by every change that a reader could notice."""
FEW = 5
"""Runs below which an arm's interval says little."""
TOLD = 0.05
"""Corrected p below which a difference is told."""
UNEQUAL = 0.1
"""Share by which what two arms spent may differ before a warning says so."""
FROZEN = "frozen"
"""The row of a run's table, and the arm, in which nothing is chosen or trained."""
AXES: Mapping[str, Callable[[GenerationRecord], float]] = {
    "decisions": lambda record: float(record.decisions),
    "flops": lambda record: record.forward_flops + record.training_flops,
}
"""What curves are drawn against."""
LABELS = {"decisions": "decisions", "flops": "FLOPs (deciding and fine-tuning)"}
"""What axes are called."""
_POINTS, _RESAMPLES = 40, 500
"""Of a band: places, and resamples at each."""


@dataclass(frozen=True)
class Band:
    """An arm's score against what was spent, with its interval."""

    spent: Floats
    """[k] from where all of its runs are known to where they are."""
    score: Floats
    """[k] interquartile mean over the runs of the population's mean score."""
    low: Floats
    """[k] lower end of the interval."""
    high: Floats
    """[k] upper end."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an arm comes to."""

    arm: Arm
    score: Interval
    """Interquartile mean over its runs of the held-out score; ends are NaN for a single run."""
    decisions: float
    """Mean over its runs."""
    flops: float
    """Mean over its runs, deciding and fine-tuning."""
    areas: Mapping[str, Interval]
    """By axis: mean height of the curve over the stretch that the runs of all arms went through; empty if there is
    none."""
    bands: Mapping[str, Band]
    """By axis; empty if a run's generations are not known."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """How one arm differs from another."""

    first: str
    second: str
    difference: Interval
    """First less second, of interquartile means; ends are NaN if an arm has a single run."""
    improvement: Interval
    """The chance that a run of the first beats one of the second."""
    p: float
    """Two-sided, of Mann and Whitney's test."""
    corrected: float
    """The same for all contrasts together, by Holm."""
    effect: Effect


@dataclass(frozen=True, kw_only=True)
class Split:
    """Where the gain of an arm's best genomes sits: means over runs of differences between held-out scores.

    Prompt, weights and interaction sum to the whole.
    """

    arm: str
    runs: int
    """In which the best genome's parts were measured."""
    prompt: Interval
    """Its prompt on the model as it is, less a prompt that nobody chose on it."""
    weights: Interval
    """Its weights with the prompt that nobody chose, less the model as it is with it."""
    interaction: Interval
    """What both have together beyond the sum of what each has alone."""
    whole: Interval
    """Both, less neither."""


PARTS = ("prompt", "weights", "interaction", "whole")
"""Fields of a split, in the order to show."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arms side by side."""

    outcomes: tuple[Outcome, ...]
    """The best first."""
    contrasts: tuple[Contrast, ...]
    """Between those that share an environment: all pairs, or each with the reference."""
    warnings: tuple[str, ...]
    """What a reader must know first."""
    against: str | None = None
    """The arm that all others are compared with; None: all pairs."""
    splits: tuple[Split, ...] = ()
    """Of arms whose runs measured their best genome's parts, if both parts were ever something else than nobody's
    choice; the best first."""

    def to_json(self, found: str) -> str:
        """Return the text of comparison.json, with what was `found` in words; of numbers, only finite ones are kept."""
        content = {
            "schema": SCHEMA,
            "found": found,
            "against": self.against,
            "warnings": self.warnings,
            "arms": [_outcome_tree(outcome) for outcome in self.outcomes],
            "contrasts": [_contrast_tree(contrast) for contrast in self.contrasts],
            "splits": [_split_tree(split) for split in self.splits],
        }
        return json.dumps(finite(content), indent=2, allow_nan=False) + "\n"


def compare_arms(arms: Sequence[Arm], rng: np.random.Generator, against: str | None = None) -> Comparison:
    """Compute everything that is said of arms.

    Args:
        arms: at least one.
        rng: of all intervals.
        against: name of the arm that all others are compared with; None: all pairs, which costs the test more.

    Raises:
        ConfigError: there is no arm of that name.
    """
    names = [arm.name for arm in arms]
    if against is not None and against not in names:
        raise ConfigError(f"against: expected one of {', '.join(names)}, given {against!r}{nearest(against, names)}")
    curves = {axis: [_curves(arm, measure) for arm in arms] for axis, measure in AXES.items()}
    outcomes = [
        _outcome(arm, {axis: of_arms[place] for axis, of_arms in curves.items()}, _stretches(curves), rng)
        for place, arm in enumerate(arms)
    ]
    outcomes.sort(key=lambda outcome: -outcome.score.value)
    ranked = [outcome.arm for outcome in outcomes]
    pairs = [(a, b) for a, b in itertools.combinations(ranked, 2) if against is None]
    pairs += [(arm, one) for one in ranked if one.name == against for arm in ranked if arm is not one]
    return Comparison(
        outcomes=tuple(outcomes),
        contrasts=_contrasts(pairs, rng),
        warnings=(*_warnings(outcomes), *_hopeless(pairs)),
        against=against,
        splits=tuple(split for arm in ranked if (split := _split(arm, rng))),
    )


def levels(comparison: Comparison) -> dict[str, float]:
    """Return what scores are seen beside: a random policy, frozen genomes and the expert.

    Frozen is the arm of that name; without one, the mean over all runs of generation 0 as it was born.
    """
    arms = {one.arm.name: one.score.value for one in comparison.outcomes}
    born = [dict(run.summary.heldout)[FROZEN].score for one in comparison.outcomes for run in one.arm.runs]
    return {"random": 0.0, FROZEN: arms.get(FROZEN, float(np.mean(born))), "expert": 1.0}


def score_of(run: RunResult) -> float:
    """Return the score that runs are compared by."""
    return run.evolved.score


Curves = dict[str, list[Curve]]
"""Environment -> each run's curve; empty if that of one of them is not known."""


def _curves(arm: Arm, measure: Callable[[GenerationRecord], float]) -> Curves:
    """Return the mean scores of the population, on worlds that had chosen nobody yet, against what was spent."""
    found: Curves = {}
    for run in arm.runs:
        points = {measure(record): record.mean for record in run.generations if math.isfinite(record.mean)}
        if not points:
            return {}
        curve = Curve(np.array([*points], np.float64), np.array([*points.values()], np.float64))
        found.setdefault(run.summary.environment, []).append(curve)
    return found


def _stretches(curves: Mapping[str, Sequence[Curves]]) -> dict[str, tuple[float, float]]:
    """Return by axis the stretch that all runs of all arms went through; none where there is no such stretch."""
    found = {axis: _stretch([one for arm in of_arms for one in _all(arm)]) for axis, of_arms in curves.items()}
    return {axis: stretch for axis, stretch in found.items() if stretch[0] < stretch[1]}


def _stretch(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return from where to where all curves are known."""
    return max((one.spent[0] for one in curves), default=0.0), min((one.spent[-1] for one in curves), default=0.0)


def _all(curves: Curves) -> list[Curve]:
    return list(itertools.chain.from_iterable(curves.values()))


def _outcome(
    arm: Arm, curves: Mapping[str, Curves], stretches: Mapping[str, tuple[float, float]], rng: np.random.Generator
) -> Outcome:
    """Return what an arm comes to."""
    areas = {
        axis: _interval([[area_under(one, *stretches[axis]) for one in stratum] for stratum in curves[axis].values()],
                        rng)
        for axis in stretches if curves[axis]
    }  # fmt: skip
    return Outcome(
        arm=arm,
        score=_interval(list(arm.strata(score_of).values()), rng),
        decisions=float(np.mean([run.summary.budget.decisions for run in arm.runs])),
        flops=float(np.mean([run.flops for run in arm.runs])),
        areas=areas,
        bands={axis: _band(of_axis, rng) for axis, of_axis in curves.items() if of_axis},
    )


def _band(curves: Curves, rng: np.random.Generator) -> Band:
    """Return an arm's curve with its interval at every place."""
    places = np.linspace(*_stretch(_all(curves)), _POINTS)
    heights = [np.stack([one.at(places) for one in stratum]) for stratum in curves.values()]
    points = [_interval([h[:, i] for h in heights], rng, resamples=_RESAMPLES) for i in range(_POINTS)]
    score, low, high = np.array(points).T
    return Band(places, score, low, high)


def _interval(strata: Sequence[Any], rng: np.random.Generator, *, resamples: int = 2000) -> Interval:
    """Return the interquartile mean with its interval, of which a single run knows nothing."""
    return _known(stratified_interval(strata, rng, resamples=resamples), sum(map(len, strata)))


def _known(interval: Interval, fewest: int) -> Interval:
    return interval if fewest > 1 else Interval(interval.value, math.nan, math.nan)


def _contrasts(pairs: Sequence[tuple[Arm, Arm]], rng: np.random.Generator) -> tuple[Contrast, ...]:
    """Compare pairs in the environments that both lived in; those that share none are left out."""
    found: list[Contrast] = []
    for first, second in pairs:
        mine, theirs = first.strata(score_of), second.strata(score_of)
        shared = sorted(mine.keys() & theirs.keys())
        if shared:
            a, b = [mine[name] for name in shared], [theirs[name] for name in shared]
            fewest = min(sum(map(len, a)), sum(map(len, b)))
            contrast = Contrast(
                first=first.name,
                second=second.name,
                difference=_known(difference(a, b, rng), fewest),
                improvement=_known(probability_of_improvement(a, b, rng), fewest),
                p=mann_whitney(a, b),
                corrected=math.nan,
                effect=vargha_delaney(a, b),
            )
            found.append(contrast)
    corrected = holm([contrast.p for contrast in found])
    return tuple(dataclasses.replace(one, corrected=float(p)) for one, p in zip(found, corrected, strict=True))


def _split(arm: Arm, rng: np.random.Generator) -> Split | None:
    """Return where the gain of an arm's best genomes sits; None if they have not two parts."""
    strata: dict[str, list[dict[str, float]]] = {}
    for run in arm.runs:
        if run.summary.split:
            scores = {name: row.score for name, row in run.summary.split}
            strata.setdefault(run.summary.environment, []).append(scores)
    every = [scores for runs in strata.values() for scores in runs]
    if not all(any(one[part] != one["neither"] for one in every) for part in ("prompt", "weights")):
        return None

    def over_runs(gain: Callable[[dict[str, float]], float]) -> Interval:
        values = [[gain(scores) for scores in runs] for runs in strata.values()]
        return _known(stratified_interval(values, rng, statistic=mean), len(every))

    return Split(
        arm=arm.name,
        runs=len(every),
        prompt=over_runs(lambda of: of["prompt"] - of["neither"]),
        weights=over_runs(lambda of: of["weights"] - of["neither"]),
        interaction=over_runs(lambda of: of["both"] - of["prompt"] - of["weights"] + of["neither"]),
        whole=over_runs(lambda of: of["both"] - of["neither"]),
    )


def _warnings(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what makes the table worth less than it looks."""
    found = [
        f"{one.arm.name}: {len(one.arm.runs)} seeds are few: expected at least {FEW}, better 10, to tell arms apart"
        for one in outcomes
        if len(one.arm.runs) < FEW
    ]
    found += [
        f"{one.arm.name}: {run.folder.name} is left out, for its seed {run.summary.seed} is there already"
        for one in outcomes
        for run in one.arm.repeated
    ]
    commits = {run.commit for one in outcomes for run in one.arm.runs}
    if len(commits) > 1:
        made = ", ".join(sorted(f"{str(commit)[:9]}{'+' if str(commit).endswith('+') else ''}" for commit in commits))
        found.append(f"the runs were made by {len(commits)} versions of the code: {made}")
    for what, spent in (("decisions", [one.decisions for one in outcomes]), ("FLOPs", [one.flops for one in outcomes])):
        if min(spent) < (1 - UNEQUAL) * max(spent):
            least, most = (outcomes[spent.index(pick(spent))].arm.name for pick in (min, max))
            found.append(f"budgets differ: {least} spent {min(spent):,.3g} {what}, {most} {max(spent):,.3g}")
    return found + [f"{one.arm.name}: no curves, generations are not known" for one in outcomes if not one.bands]


def _hopeless(pairs: Sequence[tuple[Arm, Arm]]) -> list[str]:
    """Say so where runs are too few for so many pairs: no difference could be told, however large."""
    if not pairs or len({run.summary.environment for pair in pairs for arm in pair for run in arm.runs}) > 1:
        return []
    least = len(pairs) * min(2 / math.comb(len(a.runs) + len(b.runs), len(a.runs)) for a, b in pairs)
    if least < TOLD:
        return []
    told = f"for {len(pairs)} pairs of so few runs p (Holm) is at least {min(least, 1.0):.2g}"
    return [f"no difference can be told, however large: {told}; take more seeds, or compare with one arm (--against)"]


def _outcome_tree(outcome: Outcome) -> dict[str, Any]:
    """Return plain values for comparison.json."""
    runs = [
        {
            "run": run.summary.run,
            "environment": run.summary.environment,
            "seed": run.summary.seed,
            "commit": run.commit,
            "score": run.evolved.score,
            "lifespan": run.evolved.lifespan,
            **dataclasses.asdict(run.summary.budget),
        }
        for run in outcome.arm.runs
    ]
    return {
        "name": outcome.arm.name,
        "settings": dict(outcome.arm.settings),
        "score": outcome.score._asdict(),
        "decisions": outcome.decisions,
        "flops": outcome.flops,
        "area": {axis: area._asdict() for axis, area in outcome.areas.items()},
        "runs": runs,
        "curve": {
            axis: {name: values.tolist() for name, values in vars(band).items()} for axis, band in outcome.bands.items()
        },
    }


def _contrast_tree(contrast: Contrast) -> dict[str, Any]:
    """Return plain values for comparison.json."""
    return {
        "arm": contrast.first,
        "against": contrast.second,
        "difference": contrast.difference._asdict(),
        "improvement": contrast.improvement._asdict(),
        "p": contrast.p,
        "p_holm": contrast.corrected,
        "a": contrast.effect.a,
        "effect": contrast.effect.magnitude,
    }


def _split_tree(split: Split) -> dict[str, Any]:
    """Return plain values for comparison.json."""
    return {"arm": split.arm, "runs": split.runs, **{part: getattr(split, part)._asdict() for part in PARTS}}
