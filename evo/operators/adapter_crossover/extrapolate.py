"""Crossover beyond the fitter parent: on the line from the worse to the better, past the better."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evo.operators.adapter_crossover.base import AdapterCrossover
from evo.operators.adapter_crossover.exact import merge_each
from fitness.adapter import AdapterStack
from fitness.checks import check_range


@dataclass(frozen=True, kw_only=True)
class ExtrapolateCrossover(AdapterCrossover):
    """`delta = better + (eta - 1) * (better - worse)`, truncated to rank r: what made the better one better, once more.

    Wright's heuristic crossover (1991, https://doi.org/10.1016/B978-0-08-050684-5.50016-1) in delta W.
    """

    ordered: ClassVar[bool] = True
    eta: tuple[float, float] = (1.0, 1.5)
    """Bounds between which eta is drawn for each couple; at 1 the child is the better parent. At least 1."""

    def __post_init__(self) -> None:
        """Refuse bounds that lead back to the worse parent."""
        check_range("eta", self.eta, 1.0)

    def cross(self, first: AdapterStack, second: AdapterStack, rng: np.random.Generator) -> AdapterStack:
        """Return the children; see `AdapterCrossover.cross`."""
        eta = rng.uniform(*self.eta, size=len(first))
        return merge_each(first, second, dict.fromkeys(first.spec.modules, np.stack([eta, 1 - eta])))
