"""What every selector promises, and the check on what it is given.

Owns the contract: more fitness is better, non-finite fitness is refused (a NaN wins a quarter of DEAP's tournaments of
three in a pool of four), the fitness is left as it is, and the same Generator state gives the same choice.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray


class Selection(ABC):
    """Chooses members of a population by their fitness."""

    @abstractmethod
    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the positions [count] of the chosen; whether one can be chosen twice is the member's own.

        Args:
            fitness: [n], or [n, m] for m objectives or cases; to be maximised.
            count: how many to choose, at least 0.
            rng: the only source of chance.

        Raises:
            ValueError: the fitness is empty, not finite or of a wrong shape, or `count` cannot be chosen.
        """


def check_fitness(fitness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fitness as float64 [n, m].

    Raises:
        ValueError: empty, not finite, or neither one- nor two-dimensional.
    """
    table = np.asarray(fitness, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not table.size:
        raise ValueError(f"fitness: expected shape [n] or [n, m] with n and m above 0, got {np.shape(fitness)}")
    if not np.isfinite(table).all():
        member = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise ValueError(f"fitness: expected finite numbers, got {table[member].tolist()} for member {member}")
    return table
