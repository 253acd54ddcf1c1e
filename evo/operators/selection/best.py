"""Truncation: the best, each once, best first. What elitism is made of."""

from dataclasses import dataclass

import numpy as np
from deap import tools
from numpy.typing import NDArray

from evo.operators.selection.base import Selection, check_count, check_fitness
from evo.operators.selection.deap_selection import Candidate


def best(fitness: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the positions of the `count` best, best first, by DEAP's `selBest`.

    Several columns are compared in order, the next deciding ties of the one before; of equals, the earlier comes first.

    Args:
        fitness: [n] or [n, m], to be maximised.
        count: 0 to n.

    Raises:
        ValueError: the fitness is refused, or fewer than `count` are there.
    """
    candidates = [Candidate(i, tuple(row)) for i, row in enumerate(check_fitness(fitness).tolist())]
    if not 0 <= count <= len(candidates):
        raise ValueError(f"count: expected 0 to {len(candidates)}, the number of members, got {count}")
    return np.array([one.position for one in tools.selBest(candidates, count)], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Best(Selection):
    """DEAP's `selBest`: no chance in it, and no member twice before every member is chosen once."""

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the `count` best, best first, then the best again; see `Selection.select`."""
        check_count(count)
        everyone = best(fitness, len(check_fitness(fitness)))
        return np.resize(everyone, count)
