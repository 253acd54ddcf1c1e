"""How good genomes are, from lives in few and different worlds.

Owns estimates that luck has little say in: `adjusted_means`, which takes the worlds out and draws little-tested genomes
to a prior, and `corrected_best`, which believes no value that selected. Does not own who lives how often
(evo/racing.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from evo.genome import finite_vector
from fitness.checks import check_number

Floats = NDArray[np.float64]
_LOOSE = 1e-6
"""Lives that a prior counts as while the newcomers' own is sought."""


def adjusted_means(lived: Floats, prior: Floats, weight: Floats) -> Floats:
    """Return [G] what each genome lives in an average world, drawn to its prior.

    A lifespan is the genome's own value, plus the world's, plus luck; the values are those with the least squares,
    where a prior counts as `weight` lives that lasted as long as it says (Henderson 1975,
    https://doi.org/10.2307/2529430). Without worlds' values this is the shrunken mean `(n * mean + weight * prior) / (n
    + weight)`. What a world is worth is told by all that lived in it, so that newcomers who met kind worlds are not
    taken for better than incumbents whose past lay in hard ones.

    Args:
        lived: [G, S] lifespans by genome and world; NaN where a genome did not live in a world, or its episode failed.
        prior: [G] for an incumbent its mean so far; NaN for a newcomer, whose prior is the mean of all newcomers.
        weight: [G] lives that the prior counts as, above 0; for an incumbent as many as it has lived, for a
            newcomer few (2 of 8 in `python -m tests.benchmarks noise`): the more, the harder it is for newcomers.

    Raises:
        ValueError: shapes do not fit, or a number is not finite or a weight not above 0.
    """
    lived, prior, weight = (np.asarray(array, np.float64) for array in (lived, prior, weight))
    fits = lived.ndim == 2 and prior.shape == weight.shape == lived.shape[:1]
    if not fits or np.isinf(lived).any() or np.isinf(prior).any() or not ((weight > 0) & np.isfinite(weight)).all():
        raise ValueError(
            f"expected lived [G, S], prior [G] and weight [G] above 0, none infinite, "
            f"got shapes {lived.shape}, {prior.shape} and {weight.shape}"
        )
    new = np.isnan(prior)
    if new.any():
        level = np.nanmean(lived) if new.all() else np.nanmean(prior)
        loose = _least_squares(lived, np.where(new, level, prior), np.where(new, _LOOSE, weight))
        prior = np.where(new, loose[new].mean(), prior)
    return _least_squares(lived, prior, weight)


def _least_squares(lived: Floats, prior: Floats, weight: Floats) -> Floats:
    """Return the genomes' values [G] of `adjusted_means`; the worlds' are put in from their own equations."""
    there = (~np.isnan(lived)).astype(np.float64)
    seen, crowd = np.where(there > 0, lived, 0.0), np.maximum(there.sum(axis=0), 1.0)
    left = np.diag(there.sum(axis=1) + weight) - (there / crowd) @ there.T
    right = (seen - there * (seen.sum(axis=0) / crowd)).sum(axis=1) + weight * prior
    return np.asarray(np.linalg.solve(left, right))


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """The best of some candidates, as worlds see it that had no part in choosing the candidates."""

    genome: int
    """Its id."""
    mean: float
    """Of its fresh lives, in steps."""
    interval: tuple[float, float]
    """That holds its true mean."""
    count: int
    """Fresh lives."""


def corrected_best(fresh: Mapping[int, ArrayLike], confidence: float = 0.95) -> Corrected:
    """Return the candidate with the best mean in fresh worlds; nothing that it was chosen for before counts.

    The best of an archive of noisy values is the luckiest, and believing its value makes archives look better than they
    are (Grillotti et al. 2023, https://arxiv.org/abs/2304.03672). The interval is Student's, made wider for the number
    of candidates (Bonferroni), so that it holds for whichever of them turns out best.

    Args:
        fresh: candidate's id -> [n] lifespans in worlds that selected nobody, best the same for all; at least 2 each.
        confidence: of the interval, above 0 and below 1.

    Raises:
        ConfigError: the confidence is out of range.
        ValueError: no candidate, a candidate with fewer than two lives, or a number that is not finite.
    """
    check_number("confidence", confidence, 0.0, 1.0)
    lives = {id_: finite_vector(f"fresh[{id_}]", values) for id_, values in fresh.items()}
    if not lives or min(map(len, lives.values())) < 2:
        raise ValueError(f"fresh: expected candidates with two lives or more, got {[len(v) for v in lives.values()]}")
    genome = min(lives, key=lambda id_: (-lives[id_].mean(), id_))
    values = lives[genome]
    mean, count = float(values.mean()), len(values)
    quantile = float(student.ppf(1.0 - (1.0 - confidence) / 2.0 / len(lives), count - 1))
    margin = quantile * float(values.std(ddof=1)) / math.sqrt(count)
    return Corrected(genome=genome, mean=mean, interval=(mean - margin, mean + margin), count=count)
