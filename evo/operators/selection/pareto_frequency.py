"""Chances by the number of worlds in which nobody is better."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evo.operators.selection.base import Selection, check_fitness
from evo.operators.selection.wheel import spin


@dataclass(frozen=True, kw_only=True)
class ParetoFrequency(Selection):
    """GEPA's choice of parents (Agrawal et al. 2025, https://arxiv.org/abs/2507.19457).

    Each world's front is all who are best in it. From the lowest mean up, whoever has in each of its fronts another one
    who is still there is dropped; the rest are drawn in proportion to the number of fronts they are in. Of equal means
    chance decides who is tried first (GEPA: the order of its sets), so of identical members one remains.
    """

    sees: ClassVar[Literal["scores", "cases"]] = "cases"

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` independent draws, repeats allowed; see `Selection.select`."""
        table = check_fitness(fitness)
        fronts = table == table.max(axis=0)
        holders = fronts.sum(axis=0)
        # One pass is enough: who cannot be dropped now cannot be dropped when fewer are left.
        for member in np.lexsort((rng.random(len(table)), table.mean(axis=1))):
            if (holders[fronts[member]] > 1).all():
                holders -= fronts[member]
                fronts[member] = False
        return spin(fronts.sum(axis=1).astype(np.float64), count, rng)
