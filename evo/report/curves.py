"""Curves of a score against what was spent, and what they come to.

Owns curves of numbers between points and the area under them. Pure functions; knows nothing of runs or files. What a
curve shows between two generations is taken for straight.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evo.report.statistics import Floats


@dataclass(frozen=True)
class Curve:
    """A score against what was spent until then.

    Example: `Curve(spent=np.array([100.0, 200.0]), score=np.array([0.1, 0.3]))`
    """

    spent: Floats
    """[n] rising, in decisions or FLOPs."""
    score: Floats
    """[n] by then."""

    def __post_init__(self) -> None:
        """Refuse what is no curve.

        Raises:
            ValueError: Lengths differ or are 0, a number is not finite, or what was spent does not rise.
        """
        if self.spent.ndim != 1 or self.spent.shape != self.score.shape or not len(self.spent):
            raise ValueError(f"spent and score: expected [n] each, got {self.spent.shape} and {self.score.shape}")
        if not (np.isfinite(self.spent).all() and np.isfinite(self.score).all()):
            raise ValueError("spent and score: expected finite numbers, got others")
        if not (np.diff(self.spent) > 0).all():
            raise ValueError(f"spent: expected rising numbers, got {self.spent}")

    def at(self, spent: ArrayLike) -> Floats:
        """Return the score when this much was spent; before the first and after the last point, theirs."""
        return np.asarray(np.interp(np.asarray(spent, np.float64), self.spent, self.score))


def area_under(curve: Curve, low: float, high: float) -> float:
    """Return the area under a curve from `low` to `high` spent, divided by their distance: the mean height.

    Curves are to be compared from the same `low` to the same `high`. Of two runs that end in the same score, the one
    that was good earlier has more under it.

    Raises:
        ValueError: `low` is not below `high`, or the curve does not reach from the one to the other.
    """
    first, last = curve.spent[[0, -1]]
    if not first <= low < high <= last:
        raise ValueError(
            f"expected {first:g} <= low < high <= {last:g}, which the curve spans, got {low:g} and {high:g}"
        )
    inner = curve.spent[(curve.spent > low) & (curve.spent < high)]
    spent = np.concatenate([[low], inner, [high]])
    return float(np.trapezoid(curve.at(spent), spent) / (high - low))
