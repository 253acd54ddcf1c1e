"""Tournament selection: the best of a few drawn at random, with replacement."""

from dataclasses import dataclass

import numpy as np
from deap import tools
from numpy.typing import NDArray

from evo.operators.selection.base import Selection
from evo.operators.selection.deap_selection import select_with_deap
from fitness.checks import check_integer


@dataclass(frozen=True, kw_only=True)
class Tournament(Selection):
    """DEAP's `selTournament`: cares for order only, so a lucky outlier gains no more than a place."""

    size: int = 3
    """Members per tournament, at least 1; 1 chooses at random, more presses harder."""

    def __post_init__(self) -> None:
        """Refuse a tournament of nobody."""
        check_integer("size", self.size, 1)

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the winners of `count` tournaments, repeats allowed; see `Selection.select`."""
        return select_with_deap(tools.selTournament, fitness, count, rng, tournsize=self.size)
