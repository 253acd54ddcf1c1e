"""Linear ranking: chances by place, from the worst to the best, in equal steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo.operators.selection.base import Selection, one_number
from evo.operators.selection.wheel import spin
from fitness.checks import check_number


@dataclass(frozen=True, kw_only=True)
class Rank(Selection):
    """Linear ranking (Baker 1985, "Adaptive selection methods for genetic algorithms", Proc. 1st ICGA, 101-111).

    Of n members the r-th worst, r from 0, has the chance `(2 - pressure) / n + 2 r (pressure - 1) / (n (n - 1))`.
    Equals share the mean of their places. With several columns their mean decides.
    """

    pressure: float = 1.8
    """How often the best is chosen for each time that the average one is: 1 (chance alone) to 2 (the worst never)."""

    def __post_init__(self) -> None:
        """Refuse a pressure that gives negative chances."""
        check_number("pressure", self.pressure, 1.0, 2.0)

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` independent draws, repeats allowed; see `Selection.select`."""
        scores = one_number(fitness)
        _, level, equals = np.unique(scores, return_inverse=True, return_counts=True)
        places = (np.cumsum(equals) - (equals + 1) / 2)[level]
        steps = 2 * (self.pressure - 1) / max(len(scores) - 1, 1)
        return spin(2 - self.pressure + steps * places, count, rng)
