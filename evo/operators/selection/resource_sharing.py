"""Worlds as food that is shared among all who live on it: who lives where few others can is worth more."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evo.operators.selection.base import Pool, Selection, check_fitness
from evo.operators.selection.wheel import from_zero, spin
from fitness.checks import check_number


@dataclass(frozen=True, kw_only=True)
class ResourceSharing(Selection):
    """M2N2's competition and attraction (Abrantes, Lange and Tang 2025, https://arxiv.org/abs/2508.16204).

    With s the fitness of each member in each world, member i earns `F_ij = s_ij / (sum_k s_kj)^competition` in world j.
    First parents are drawn in proportion to the sum of what they earn. A mate is drawn in proportion to what it earns
    beyond the first parent, `sum_j max(0, F_mate,j - F_first,j)`: drawn, as the authors' code has it, since the best
    alone would make the same couple again and again; if nobody earns more anywhere, all others have the same chance. A
    world that feeds nobody is worth 0, and one with negative fitness is raised until its least is 0.
    """

    sees: ClassVar[Literal["scores", "cases"]] = "cases"

    competition: float = 1.0
    """The paper's alpha, at least 0: 0 shares nothing (a plain sum), 1 makes every world worth the same."""

    def __post_init__(self) -> None:
        """Refuse to reward a crowd."""
        check_number("competition", self.competition, 0.0)

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` independent draws, repeats allowed; see `Selection.select`."""
        return spin(self.earn(fitness).sum(axis=1), count, rng)

    def mate(self, pool: Pool, first: int, rng: np.random.Generator) -> int:
        """Return the position of a mate by attraction; see `Selection.mate`."""
        earned = self.earn(pool.cases)
        attraction = np.maximum(earned - earned[first], 0.0).sum(axis=1)
        position = int(spin(np.delete(attraction, first), 1, rng)[0])
        return position + (position >= first)

    def earn(self, fitness: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each member earns in each world [n, m].

        Raises:
            ValueError: as in `check_fitness`.
        """
        supply = from_zero(check_fitness(fitness))
        eaters = supply.sum(axis=0)
        shares: NDArray[np.float64] = supply / np.where(eaters > 0, eaters, 1.0) ** self.competition
        return shares
