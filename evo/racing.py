"""Who need not live on: genomes that what is known already rules out, so that episodes go to those in question.

Owns the plan of a race (`rungs`), the verdict after a rung (`excluded`) and who goes on (`advance`). All genomes of a
rung live in the same worlds, so that luck that lies in a world is common to both sides of a difference and cancels
(common random numbers). Does not own the worlds, or the scores (evo/noise.py). To add a rule, write a function from
lifespans [G, S] to who is out. A generation is:

    for rung in rungs(len(genomes), worlds, keep):
        alive = advance(lived, scores, alive, rung.genomes, keep)  # at first alive is all True, lived is [G, 0]
        lived = ...  # with `rung.worlds` columns more, NaN for those not alive
        scores = adjusted_means(lived, prior, weight)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from fitness.checks import check_integer, check_number

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One stage of a race."""

    genomes: int
    """How many are left in it, at most."""
    worlds: int
    """In which each of them lives."""

    def __post_init__(self) -> None:
        """Refuse a rung in which nobody lives."""
        check_integer("rung.genomes", self.genomes, 1)
        check_integer("rung.worlds", self.worlds, 1)


@dataclass(frozen=True, kw_only=True)
class Racing:
    """Sequential halving within a generation (https://arxiv.org/abs/1502.07943): episodes go to those in question.

    Example: `Racing()`
    """

    keep: int | None = None
    """Genomes in the last rung, which are sure to live in all worlds; None: a quarter of the population."""
    newcomer: float = 2.0
    """Lives that the mean of all newcomers counts as in the score of each; above 0."""

    def __post_init__(self) -> None:
        """Refuse a race that nobody ends."""
        if self.keep is not None:
            check_integer("keep", self.keep, 1)
        check_number("newcomer", self.newcomer, 1e-9)

    def kept(self, genomes: int) -> int:
        """Return how many of `genomes` end the race."""
        return min(genomes, self.keep if self.keep is not None else max(1, genomes // 4))

    def plan(self, genomes: int, worlds: int) -> tuple[Rung, ...]:
        """Return the race's rungs, at the cost of `worlds` for everybody (see `rungs`)."""
        return rungs(genomes, worlds, self.kept(genomes))


def rungs(genomes: int, worlds: int, keep: int) -> tuple[Rung, ...]:
    """Return sequential halving: rungs of about equal cost, each with half the genomes of the one before.

    It spends on the doubtful what the same number of worlds for all spends on the hopeless (Karnin, Koren and Somekh
    2013; Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943), and ends at `keep` genomes instead of one,
    because as many survive.

    Args:
        genomes: at the start.
        worlds: that every genome could live in at the same cost without a race; no race costs more.
        keep: genomes in the last rung, at most `genomes`; more if the worlds do not suffice for as many rungs.

    Raises:
        ConfigError: an argument is out of range.

    Example: `rungs(24, 8, 6)` is 24 genomes in 2 worlds, 12 in 6 and 6 in 12: 192 episodes, as many as 24 times 8.
    """
    check_integer("genomes", genomes, 1)
    check_integer("worlds", worlds, 1)
    check_integer("keep", keep, 1, genomes, "the genomes")
    sizes = [genomes]
    while sizes[-1] > keep and len(sizes) < worlds:
        sizes.append(max(keep, math.ceil(sizes[-1] / 2)))
    plan, left = [], genomes * worlds
    for position, size in enumerate(sizes):
        plan.append(Rung(genomes=size, worlds=left // (len(sizes) - position) // size))
        left -= size * plan[-1].worlds
    return tuple(plan)


def advance(lived: Floats, scores: Floats, alive: Bools, size: int, keep: int) -> Bools:
    """Return [G] who goes on to a rung of `size` genomes: of those alive and not `excluded`, the best by score.

    Args:
        lived: [G, S] lifespans so far, as for `excluded`.
        scores: [G] to be maximised; of two that are equal, the first goes on.
        alive: [G] who is still in the race.
        size: of the next rung.
        keep: how many are kept at last (mu).
    """
    going = np.flatnonzero(alive & ~excluded(lived, keep))
    best = going[np.argsort(-np.asarray(scores)[going], kind="stable")[:size]]
    return np.isin(np.arange(len(alive)), best)


def excluded(lived: Floats, keep: int, confidence: float = 0.95, prior: float = 4.0) -> Bools:
    """Return [G] who is out: at least `keep` others are longer-lived, each by a one-sided paired bound.

    The bound is Student's t on the differences in the worlds that both lived in, as in F-Race (Birattari et al. 2002)
    and, with t for Hoeffding's bound, in the races of Maron and Moore 1997 (https://doi.org/10.1023/A:1006556606079).
    Lifespans are whole numbers that stop at a horizon, so that two differences are often equal by chance and their own
    variance nothing; it is drawn to the mean over all pairs, which counts as `prior` differences (Smyth 2004,
    https://doi.org/10.2202/1544-6115.1027).

    Args:
        lived: [G, S] lifespans by genome and world; NaN where a genome did not live in a world, or its episode failed.
        keep: how many are kept at last (mu); nobody is out if there are no more.
        confidence: of each bound, above 0.5.
        prior: differences that the common variance counts as; 0 trusts each pair's own.

    Raises:
        ConfigError: a number is out of range.
        ValueError: `lived` is not two-dimensional or holds an infinity.
    """
    check_integer("keep", keep, 1)
    check_number("confidence", confidence, 0.5, 1.0)
    check_number("prior", prior, 0.0)
    lived = np.asarray(lived, np.float64)
    if lived.ndim != 2 or np.isinf(lived).any():
        raise ValueError(f"lived: expected numbers or NaN of shape [genomes, worlds], got shape {lived.shape}")
    means, variances, counts = paired(lived)
    degrees = np.maximum(counts - 1, 0)
    spread = float((variances * degrees).sum() / max(degrees.sum(), 1))
    freedom = degrees + prior
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt((degrees * variances + prior * spread) / freedom / counts)
        bound = means - student.ppf(confidence, freedom) * error
    ahead = (degrees > 0) & (bound > 0)
    return np.asarray(ahead.sum(axis=1) >= keep)


def paired(lived: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean, variance and number of the differences `other - genome`, each [genome, other].

    Only worlds that both lived in count; no difference is formed, so that G genomes in S worlds cost four products of
    [G, S] with [S, G]. The variance of fewer than two differences is 0.
    """
    there = (~np.isnan(lived)).astype(np.float64)
    seen = np.where(there > 0, lived, 0.0)
    level = seen.sum(axis=0) / np.maximum(there.sum(axis=0), 1.0)
    seen = (seen - level) * there  # of each world: it cancels, but small numbers lose fewer digits
    counts = there @ there.T
    sums = there @ seen.T - seen @ there.T
    squares = there @ (seen**2).T + (seen**2) @ there.T - 2.0 * seen @ seen.T
    means = sums / np.maximum(counts, 1.0)
    variances = np.maximum(squares - counts * means**2, 0.0) / np.maximum(counts - 1.0, 1.0)
    return means, np.where(counts > 1, variances, 0.0), counts
