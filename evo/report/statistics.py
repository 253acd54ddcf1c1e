"""Intervals: how far a mean or a score may be from what more episodes, or more runs, would show.

Owns the bootstrap. Pure functions of numbers and a generator; knows nothing of runs or files. To put an interval on
another statistic, hand `bootstrap_interval` a function that reduces the last axis. Whether two groups differ is told in
differences.py.

Method: percentile bootstrap (Efron & Tibshirani 1993, chapter 13), over episode seeds within a run; over run seeds,
stratified by environment, between runs (Agarwal et al. 2021, https://arxiv.org/abs/2108.13264).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Reduces the last axis: [..., n] -> [...]."""

_BLOCK = 1 << 21
"""Numbers resampled at a time, so that memory stays at a few tens of megabytes whatever the number of episodes."""


class Interval(NamedTuple):
    """An estimate and the range that it would mostly fall in again."""

    value: float
    """On the values as they are."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""


def mean(samples: Floats) -> Floats:
    """Return the mean over the last axis: [..., n] -> [...]."""
    return np.asarray(samples.mean(axis=-1))


def interquartile_mean(samples: Floats) -> Floats:
    """Return the mean of the middle half over the last axis: [..., n] -> [...].

    A quarter of the values, rounded down, is cut off at either end (as rliable does: Agarwal et al. 2021, section 4.3).
    """
    size = samples.shape[-1]
    return mean(np.sort(samples, axis=-1)[..., size // 4 : size - size // 4])


def bootstrap_interval(
    values: ArrayLike,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    statistic: Statistic = mean,
) -> Interval:
    """Return a statistic of independent values with its percentile bootstrap interval.

    Args:
        values: [n] finite numbers, n at least 1.
        rng: Where the resamples come from.
        level: Share of the resamples inside the interval, in (0, 1).
        resamples: How many times to resample, at least 1.
        statistic: Reduces the last axis.

    Raises:
        ValueError: An argument is out of its range.
    """
    sample = check_values("values", values)
    check_settings(level, resamples)
    draws = [statistic(sample[index]) for index in _resample(len(sample), resamples, rng)]
    return summarise(float(statistic(sample)), np.concatenate(draws), level)


def stratified_interval(
    strata: Sequence[ArrayLike],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    statistic: Statistic = interquartile_mean,
) -> Interval:
    """Return a statistic of all values together, where every stratum is resampled on its own.

    The interval holds the doubt about run seeds and not about which environments were taken. With few runs it is too
    narrow, as percentile intervals are.

    Args:
        strata: for each environment [n] finite numbers, one per run; n at least 1.
        rng: Where the resamples come from.
        level: Share of the resamples inside the interval, in (0, 1).
        resamples: How many times to resample, at least 1.
        statistic: Reduces the last axis.

    Raises:
        ValueError: An argument is out of its range, or there is no stratum.
    """
    if not strata:
        raise ValueError("strata: expected at least one, got none")
    samples = [check_values(f"strata[{place}]", values) for place, values in enumerate(strata)]
    check_settings(level, resamples)
    drawn = resample_strata(samples, resamples, rng)
    return summarise(float(statistic(np.concatenate(samples))), statistic(drawn), level)


def resample_strata(strata: Sequence[Floats], resamples: int, rng: np.random.Generator) -> Floats:
    """Return [resamples, n] values, as many of each stratum as it has, drawn from it with replacement."""
    drawn = [np.concatenate([values[i] for i in _resample(len(values), resamples, rng)]) for values in strata]
    return np.hstack(drawn)


def score_interval(
    lifespans: ArrayLike,
    random_lifespans: ArrayLike,
    expert_lifespans: ArrayLike,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Return the score (mean - random) / (expert - random) with its percentile bootstrap interval.

    The three groups lived the same seeds, so a resample draws seeds and takes all three lifespans of each. The doubt
    about the yardstick itself is thus in the interval, and the luck of a seed that all share is not.

    Args:
        lifespans: [n] of the policy that is scored; row i was lived on seed i.
        random_lifespans: [n] of the random policy on the same seeds.
        expert_lifespans: [n] of the expert on the same seeds.
        rng: Where the resamples come from.
        level: Share of the resamples inside the interval, in (0, 1).
        resamples: How many times to resample, at least 1.

    Raises:
        ValueError: The groups differ in length, an argument is out of its range, or the expert does not outlive the
            random policy, so that there is no yardstick.
    """
    groups = [
        check_values("lifespans", lifespans),
        check_values("random_lifespans", random_lifespans),
        check_values("expert_lifespans", expert_lifespans),
    ]
    check_settings(level, resamples)
    if len({len(group) for group in groups}) > 1:
        sizes = ", ".join(str(len(group)) for group in groups)
        raise ValueError(f"lifespans: expected one per seed in all three groups, got {sizes}")
    paired = np.stack(groups)
    _, lowest, highest = paired.mean(axis=-1)
    if not highest > lowest:
        raise ValueError(f"expert_lifespans: expected a mean above the random policy's {lowest:g}, got {highest:g}")
    draws = [_score(paired[:, index]) for index in _resample(paired.shape[1], resamples, rng)]
    return summarise(float(_score(paired)), np.concatenate(draws), level)


def _score(paired: Floats) -> Floats:
    """[3, ..., n] lifespans of policy, random and expert -> [...] scores; NaN where the yardstick has no length."""
    policy, lowest, highest = paired.mean(axis=-1)
    span = highest - lowest
    return np.asarray(np.divide(policy - lowest, span, out=np.full(np.shape(span), np.nan), where=span != 0))


def _resample(size: int, resamples: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield [block, size] indices drawn with replacement, `resamples` rows in all."""
    block = max(1, _BLOCK // size)
    for begin in range(0, resamples, block):
        yield rng.integers(0, size, (min(block, resamples - begin), size))


def summarise(value: float, draws: Floats, level: float) -> Interval:
    """Return the interval that holds `level` of the draws; those that are NaN do not count."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def check_values(name: str, values: ArrayLike) -> Floats:
    """Return [n] finite numbers, n at least 1, or raise a ValueError that begins with `name`."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name}: expected shape [n] with n at least 1, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {array[~np.isfinite(array)][0]}")
    return array


def check_settings(level: float, resamples: int) -> None:
    """Raise a ValueError where the settings of a bootstrap are out of range."""
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    if resamples < 1:
        raise ValueError(f"resamples: expected at least 1, got {resamples}")
