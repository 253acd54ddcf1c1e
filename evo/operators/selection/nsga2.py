"""NSGA-II: by non-dominated fronts, within one by crowding; to survive (`NSGA2`) or to mate (`TournamentDCD`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from deap import tools
from deap.tools.emo import assignCrowdingDist
from numpy.typing import NDArray

from evo.operators.selection.base import Selection, check_count
from evo.operators.selection.deap_selection import Candidate
from evo.operators.selection.pareto import select_in_rounds, select_objectives

_BATCH = 4
"""DEAP plays its tournaments in fours."""


@dataclass(frozen=True, kw_only=True)
class NSGA2(Selection):
    """DEAP's `selNSGA2` (Deb et al. 2002, https://doi.org/10.1109/4235.996017), worlds being the objectives.

    Nobody is chosen twice before everybody was chosen once, so it presses only where fewer are chosen than there are;
    a mate is one of the others' first front that has most room around it.
    """

    sees: ClassVar[Literal["scores", "cases"]] = "cases"

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` positions, front by front; see `Selection.select`."""
        return select_in_rounds(tools.selNSGA2, fitness, count, rng, nd="log")


@dataclass(frozen=True, kw_only=True)
class TournamentDCD(Selection):
    """DEAP's `selTournamentDCD`, by which NSGA-II mates: of two, the one that dominates, else the less crowded.

    Everybody plays twice for every n chosen, never against itself, whatever `count` is; up to three of each four can
    be left out of one draw where n is no multiple of four. In a pool of less than four, each is there four times.
    """

    sees: ClassVar[Literal["scores", "cases"]] = "cases"

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the winners of `count` tournaments, repeats allowed; see `Selection.select`."""
        check_count(count)
        return select_objectives(_tournaments, fitness, count, rng)


def _tournaments(individuals: Sequence[Candidate], k: int) -> Sequence[Candidate]:
    """Return k winners of draws in which nearly everybody plays twice, as DEAP has it."""
    for front in tools.sortLogNondominated(individuals, len(individuals)):
        assignCrowdingDist(front)
    field = list(individuals) * (1 if len(individuals) >= _BATCH else _BATCH)
    whole = len(field) // _BATCH * _BATCH
    winners: list[Candidate] = []
    while len(winners) < k:
        winners += tools.selTournamentDCD(field, whole)
    return winners[:k]
