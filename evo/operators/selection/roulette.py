"""Fitness-proportional selection: by independent spins, or by one spin with many pointers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo.operators.selection.base import Selection, one_number
from evo.operators.selection.wheel import from_zero, spin, spin_evenly


@dataclass(frozen=True, kw_only=True)
class Roulette(Selection):
    """Chances in proportion to fitness (Holland 1975, https://doi.org/10.7551/mitpress/1090.001.0001).

    Where some fitness is negative, all of it is raised until the least is 0, so the worst is never chosen; DEAP's
    `selRoulette` returns too few then. Pressure depends on where fitness has its zero: of 101 and 100, both are chosen
    about as often. With several columns their mean decides.
    """

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` independent draws, repeats allowed; see `Selection.select`."""
        return spin(from_zero(one_number(fitness)), count, rng)


@dataclass(frozen=True, kw_only=True)
class UniversalSampling(Selection):
    """Stochastic universal sampling (Baker 1987, "Reducing bias and inefficiency in the selection algorithm").

    Chances are those of `Roulette`, but no luck is left in the numbers: a member expected 2.3 times is chosen 2 or 3
    times. A mate, for which one is drawn, is a mate by roulette.
    """

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` positions in random order, repeats allowed; see `Selection.select`."""
        return spin_evenly(from_zero(one_number(fitness)), count, rng)
