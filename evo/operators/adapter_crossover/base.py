"""What every adapter crossover promises.

Owns the contract: one child per couple, of the parents' spec, finite; the parents are left as they are; the same
Generator state gives the same children; no direction of a child is lost to training because both its factors vanish.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fitness.adapter import AdapterStack
from fitness.errors import AdapterError


class AdapterCrossover(ABC):
    """Makes one child adapter for each couple."""

    ordered: ClassVar[bool] = False
    """Whether `first` must hold the fitter parent of each couple; whoever forms couples sees to it."""

    @abstractmethod
    def cross(self, first: AdapterStack, second: AdapterStack, rng: np.random.Generator) -> AdapterStack:
        """Return the children, one per couple.

        Args:
            first: the couples' first parents; the fitter ones where the crossover is `ordered`.
            second: their second parents: as many, of the same spec.
            rng: the only source of chance.

        Raises:
            AdapterError: the stacks differ in spec or length, or a factor is not finite.
        """


def check_alike(parents: Sequence[AdapterStack]) -> None:
    """Raise an `AdapterError` unless the stacks are of one spec and length."""
    for position, parent in enumerate(parents):
        parent.check_uniform()
        if parent.spec != parents[0].spec or len(parent) != len(parents[0]):
            raise AdapterError(
                f"parents[{position}]: expected {len(parents[0])} adapters of {parents[0].spec}, "
                f"got {len(parent)} of {parent.spec}"
            )


def check_finite(parents: Sequence[AdapterStack], names: Sequence[str] = ()) -> None:
    """Raise an `AdapterError` if a factor of the modules `names` (empty: of all) is not finite."""
    for name in names or parents[0].spec.modules:
        sick = [i for i, p in enumerate(parents) if not (p.a[name].isfinite().all() and p.b[name].isfinite().all())]
        if sick:
            raise AdapterError(f"parents{sick}.{name}: expected finite factors, got NaN or infinity")
