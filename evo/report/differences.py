"""Differences: how surely, and how much, one group of runs is better than another.

Owns the difference of means, the probability of improvement, the test with its correction, and the effect size. Pure
functions of numbers and a generator; knows nothing of runs or files. A group comes as strata: one array of scores for
each environment, in the same order for both groups; runs of different environments are never compared with each other.

Nothing here assumes a distribution; all but the difference asks how often a run of the one beats a run of the other.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mannwhitneyu, norm, rankdata

from evo.report.statistics import (
    Floats,
    Interval,
    check_settings,
    check_values,
    interquartile_mean,
    resample_strata,
    summarise,
)

Strata = Sequence[ArrayLike]
"""For each environment [n] finite scores, one per run; n at least 1."""
Pairs = list[tuple[Floats, Floats]]
_MAGNITUDES = ((0.06, "negligible"), (0.14, "small"), (0.21, "medium"), (math.inf, "large"))
"""Distance of A from 1/2 below which an effect is called so (Vargha and Delaney 2000, section 4)."""
_EXACT = 50
"""Runs of a group up to which the distribution of U is counted out."""


class Effect(NamedTuple):
    """How much better one group is than another."""

    a: float
    """Vargha and Delaney's A: the chance that a run of the first beats one of the second, where a draw counts half."""
    magnitude: str
    """In words: negligible, small, medium or large, in either direction."""


def vargha_delaney(first: Strata, second: Strata) -> Effect:
    """Return the effect size A (Vargha and Delaney 2000, https://doi.org/10.3102/10769986025002101).

    Over several environments it is the mean of theirs, and thus the estimate of `probability_of_improvement`.

    Raises:
        ValueError: The groups have not the same number of strata, or hold no finite numbers.
    """
    a = float(np.mean([_wins(x, y).mean() for x, y in _paired(first, second)]))
    return Effect(a, next(name for bound, name in _MAGNITUDES if round(abs(a - 0.5), 12) < bound))


def difference(
    first: Strata, second: Strata, rng: np.random.Generator, *, level: float = 0.95, resamples: int = 2000
) -> Interval:
    """Return the first group's interquartile mean less the second's, with its stratified bootstrap interval.

    Both groups are resampled, each on its own: see `evo.report.statistics.stratified_interval`.

    Raises:
        ValueError: As `vargha_delaney`, or a setting is out of its range.
    """
    check_settings(level, resamples)
    groups = [list(group) for group in zip(*_paired(first, second), strict=True)]
    means = [interquartile_mean(resample_strata(group, resamples, rng)) for group in groups]
    values = [float(interquartile_mean(np.concatenate(group))) for group in groups]
    return summarise(values[0] - values[1], means[0] - means[1], level)


def probability_of_improvement(
    first: Strata, second: Strata, rng: np.random.Generator, *, level: float = 0.95, resamples: int = 2000
) -> Interval:
    """Return the chance that a run of the first group beats one of the second, with its stratified bootstrap interval.

    Mean over environments; a draw counts half (Agarwal et al. 2021, section 4.3, https://arxiv.org/abs/2108.13264).

    Args:
        first: scores of the group that may be better.
        second: scores of the other.
        rng: Where the resamples come from.
        level: Share of the resamples inside the interval, in (0, 1).
        resamples: How many times to resample both groups, at least 1.

    Raises:
        ValueError: As `vargha_delaney`, or a setting is out of its range.
    """
    check_settings(level, resamples)
    pairs = _paired(first, second)
    wins = [_wins(x, y) for x, y in pairs]
    draws = [np.einsum("bi,ij,bj->b", _shares(len(x), resamples, rng), won, _shares(len(y), resamples, rng),
                       optimize=True) for (x, y), won in zip(pairs, wins, strict=True)]  # fmt: skip
    return summarise(float(np.mean([won.mean() for won in wins])), np.mean(draws, axis=0), level)


def mann_whitney(first: Strata, second: Strata) -> float:
    """Return the two-sided p-value of the hypothesis that neither group tends to be better.

    Mann and Whitney's U, counted out where no two scores are the same and groups are small. Over several environments
    their U are weighed by 1 / (runs + 1) and the sum is taken for normal (van Elteren 1960).

    Raises:
        ValueError: As `vargha_delaney`.
    """
    pairs = _paired(first, second)
    if all(np.ptp(np.concatenate(pair)) == 0 for pair in pairs):
        return 1.0
    if len(pairs) > 1:
        return _van_elteren(pairs)
    x, y = pairs[0]
    distinct = len(np.unique(np.concatenate([x, y]))) == len(x) + len(y)
    method = "exact" if distinct and max(len(x), len(y)) <= _EXACT else "asymptotic"
    return float(mannwhitneyu(x, y, alternative="two-sided", method=method).pvalue)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values [m] that hold for all m hypotheses together (Holm 1979, https://www.jstor.org/stable/4615733).

    The smallest is multiplied by m, the next by m - 1 and so on; none may fall below one before it or exceed 1.

    Raises:
        ValueError: A p-value is no number from 0 to 1.
    """
    given = np.asarray(p_values, np.float64)
    if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"p_values: expected [m] numbers from 0 to 1, got {given}")
    order = np.argsort(given, kind="stable")
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)), 1.0)
    return corrected


def _paired(first: Strata, second: Strata) -> Pairs:
    """Return the checked scores of both groups, by environment."""
    if not len(first) or len(first) != len(second):
        raise ValueError(f"second: expected as many strata as the first group's, got {len(second)} and {len(first)}")
    return [
        (check_values(f"first[{place}]", x), check_values(f"second[{place}]", y))
        for place, (x, y) in enumerate(zip(first, second, strict=True))
    ]


def _wins(first: Floats, second: Floats) -> Floats:
    """Return [n, m]: 1 where a run of the first is better, 0 where worse, 1/2 where they are the same."""
    return (1 + np.sign(first[:, None] - second[None, :])) / 2


def _shares(size: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Return [resamples, size]: which share of a resample each value is."""
    return rng.multinomial(size, np.full(size, 1 / size), resamples) / size


def _van_elteren(pairs: Pairs) -> float:
    """Return the two-sided p-value over several environments; ties shrink the variance."""
    total, variance = 0.0, 0.0
    for x, y in pairs:
        n, m, size = len(x), len(y), len(x) + len(y)
        _, ties = np.unique(rankdata(np.concatenate([x, y])), return_counts=True)
        spread = n * m / 12 * (size + 1 - (ties**3 - ties).sum() / max(1, size * (size - 1)))
        total += n * m * (_wins(x, y).mean() - 0.5) / (size + 1)
        variance += spread / (size + 1) ** 2
    return float(2 * norm.sf(abs(total) / math.sqrt(variance)))
