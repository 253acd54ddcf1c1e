"""Lexicase selection: one world after another, in an order of each parent's own; all parents at once.

Owns the definition (`Lexicase`) and the work around the filter: which worlds, in which order, and who of the last ones
left. Does not own the filter itself (`lexicase_filter`).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evo.operators.selection.base import Selection, check_count, check_fitness
from evo.operators.selection.lexicase_filter import Filter, Pools
from fitness.checks import check_number
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Lexicase(Selection):
    """Lexicase selection and its relatives, with the statistics of DEAP's selectors.

    For each parent the worlds are put into an order of its own. In this order, everyone who is worse by more than
    `epsilon` than the best of those still there is left out, until one is left or the worlds are used up; of several
    left, chance takes one.

    * epsilon 0: Spector 2012, https://doi.org/10.1145/2330784.2330846 (DEAP's `selLexicase`);
    * a number: epsilon-lexicase, La Cava et al. 2016, https://arxiv.org/abs/1905.13266 (`selEpsilonLexicase`);
    * "auto": the same with the median distance to the median in the world at hand, among those still there
      (`selAutomaticEpsilonLexicase`);
    * share below 1: down-sampled, Hernandez et al. 2019, https://doi.org/10.1145/3319619.3326900.
    """

    sees: ClassVar[Literal["scores", "cases"]] = "cases"

    epsilon: float | Literal["auto"] = 0.0
    """How much worse than the best still passes, in units of fitness, at least 0; or "auto"."""
    share: float = 1.0
    """Share of the worlds that are looked at, drawn anew in each call; 0 to 1, but at least one world."""

    def __post_init__(self) -> None:
        """Refuse an epsilon that leaves out the best."""
        if isinstance(self.epsilon, str):
            if self.epsilon != "auto":
                raise ConfigError(f"epsilon: expected a number of at least 0 or 'auto', got {self.epsilon!r}")
        else:
            check_number("epsilon", self.epsilon, 0.0)
        check_number("share", self.share, 0.0, 1.0)

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` parents, repeats allowed; see `Selection.select`."""
        check_count(count)
        table = check_fitness(fitness)
        worlds = table.shape[1]
        looked_at = rng.permutation(worlds)[: max(1, round(self.share * worlds))]
        orders = rng.permuted(np.tile(np.arange(len(looked_at)), (count, 1)), axis=1)
        # Equal members stand or fall together: the filter sees each kind once.
        kinds, kind, sizes = np.unique(table[:, looked_at], axis=0, return_inverse=True, return_counts=True)
        left = Filter(kinds, sizes, self.epsilon).narrow(orders)
        return _draw(left, np.argsort(kind, kind="stable"), sizes, rng)


def _draw(
    left: Pools, members: NDArray[np.int64], sizes: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return one member of each pool, all of a pool with the same chance.

    Args:
        left: pools of kinds.
        members: [n] positions of all members, kind by kind.
        sizes: members of each kind.
        rng: the only source of chance.
    """
    edges = np.cumsum(sizes[left.kinds])
    ends = edges[left.starts + left.sizes - 1]
    begins = ends - np.add.reduceat(sizes[left.kinds], left.starts) if len(ends) else ends
    points = rng.integers(begins, ends)
    place = np.searchsorted(edges, points, side="right")
    positions: NDArray[np.int64] = members[np.cumsum(sizes)[left.kinds[place]] - edges[place] + points]
    return positions
