"""NSGA-III: by non-dominated fronts, within one by the least crowded of many directions."""

from dataclasses import dataclass
from itertools import count as from_number
from math import comb
from typing import ClassVar, Literal

import numpy as np
from deap import tools
from numpy.typing import NDArray

from evo.operators.selection.base import Selection
from evo.operators.selection.pareto import objectives, select_in_rounds
from fitness.checks import check_integer

MOST_POINTS = 10_000
"""Reference points above which memory (members x points x worlds) gets out of hand."""


@dataclass(frozen=True, kw_only=True)
class NSGA3(Selection):
    """DEAP's `selNSGA3` (Deb and Jain 2014, https://doi.org/10.1109/TEVC.2013.2281535), worlds being the objectives.

    Nobody is chosen twice before everybody was chosen once, so it presses only where fewer are chosen than there are.
    """

    sees: ClassVar[Literal["scores", "cases"]] = "cases"

    divisions: int | None = None
    """Steps along each axis between reference points, at least 1; m worlds and p steps make (m + p - 1) choose p.
    None: the most that make no more points than members, as the paper advises, but at least 1."""

    def __post_init__(self) -> None:
        """Refuse a plane without points."""
        if self.divisions is not None:
            check_integer("divisions", self.divisions, 1)

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` positions, front by front; see `Selection.select`.

        Raises:
            ValueError: also where `divisions` make more than `MOST_POINTS`.
        """
        table = objectives(fitness)
        # DEAP measures intercepts from the best point and then takes the best point off again; at 0 that does nothing.
        table = table - table.max(axis=0)
        points = tools.uniform_reference_points(table.shape[1], self._steps(*table.shape))
        return select_in_rounds(tools.selNSGA3, table, count, rng, ref_points=points)

    def _steps(self, members: int, worlds: int) -> int:
        """Return the number of steps along each axis."""
        if self.divisions is None:
            return next(p for p in from_number(1) if comb(worlds + p, p + 1) > members)
        points = comb(worlds + self.divisions - 1, self.divisions)
        if points > MOST_POINTS:
            raise ValueError(
                f"divisions: expected at most {MOST_POINTS} reference points, got {points} from {self.divisions} "
                f"divisions of {worlds} worlds"
            )
        return self.divisions
