"""Better than most, and not yet used up: chances by score and by number of children."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from evo.operators.selection.base import Pool, Selection, one_number
from evo.operators.selection.wheel import spin
from fitness.checks import check_number

_LEAST_SPREAD = 1e-6


@dataclass(frozen=True, kw_only=True)
class PerformanceNovelty(Selection):
    """ShinkaEvolve's weighted parents (Lange et al. 2025, https://arxiv.org/abs/2509.19349).

    The weight is `sigmoid(sharpness * (score - median) / max(MAD, 1e-6)) / (1 + children)`, MAD being the median
    distance of scores to their median. Children are counted when a generation is made: all parents of one call are
    drawn from the same weights, where ShinkaEvolve draws one at a time.
    """

    sharpness: float = 10.0
    """The paper's lambda, how sharply better is told from worse; at least 0, which leaves the children alone."""

    def __post_init__(self) -> None:
        """Refuse to prefer the worse."""
        check_number("sharpness", self.sharpness, 0.0)

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` independent draws as if none had children, repeats allowed; see `Selection.select`."""
        return spin(self._performance(fitness), count, rng)

    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` independent draws by scores and children, repeats allowed; see `Selection.choose`."""
        return spin(self._performance(pool.scores) / (1 + pool.children), count, rng)

    def _performance(self, fitness: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sigmoid [n]; at least half of them are 1/2 or more."""
        scores = one_number(fitness)
        apart = scores - np.median(scores)
        spread = max(float(np.median(np.abs(apart))), _LEAST_SPREAD)
        weights: NDArray[np.float64] = expit(self.sharpness * (apart / spread))
        return weights
