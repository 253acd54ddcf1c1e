"""Draws in proportion to weights: the wheel that many members spin.

Owns what is done where the weights say nothing (all are 0: everybody has the same chance) or are not weights (below 0).
"""

import numpy as np
from numpy.typing import NDArray

from evo.operators.selection.base import check_count

_BELOW_ONE = np.nextafter(1.0, 0.0)


def from_zero(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values [n] or [n, m] as weights: a column with negative ones is raised until its least is 0.

    A column without is left as it is, so that 9 stays three times as good as 3.
    """
    weights: NDArray[np.float64] = values - np.minimum(values.min(axis=0), 0.0)
    return weights


def spin(weights: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` positions, each drawn with replacement in proportion to `weights` [n], none below 0."""
    check_count(count)
    return _at(weights, rng.random(count))


def spin_evenly(weights: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` positions by one spin of a wheel with `count` even pointers, in random order.

    A member expected k times comes floor(k) or ceil(k) times.
    """
    check_count(count)
    return rng.permutation(_at(weights, (np.arange(count) + rng.random()) / count))


def _at(weights: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions to which points from 0 to 1 belong."""
    most = weights.max()
    edges = np.cumsum(weights / most if most > 0 else np.ones_like(weights))
    # A point that was rounded up to 1 would fall behind the last edge.
    return np.searchsorted(edges / edges[-1], np.minimum(points, _BELOW_ONE), side="right").astype(np.int64)
