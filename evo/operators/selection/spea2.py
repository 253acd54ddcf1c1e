"""SPEA2: by how many dominate one's dominators, then by distance to the nearest others."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from deap import tools
from numpy.typing import NDArray

from evo.operators.selection.base import Selection
from evo.operators.selection.pareto import select_in_rounds


@dataclass(frozen=True, kw_only=True)
class SPEA2(Selection):
    """DEAP's `selSPEA2` (Zitzler, Laumanns and Thiele 2001, https://doi.org/10.3929/ethz-a-004284029).

    Worlds are the objectives. Nobody is chosen twice before everybody was chosen once. Where the non-dominated do not
    suffice, DEAP takes the distance to later members only, so among dominated members of one strength mostly chance
    decides, for members are shuffled.
    """

    sees: ClassVar[Literal["scores", "cases"]] = "cases"

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` positions; see `Selection.select`."""
        return select_in_rounds(tools.selSPEA2, fitness, count, rng)
