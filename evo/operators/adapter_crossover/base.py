"""What every adapter crossover promises.

Owns the contract: one child per couple, of the parents' spec, finite; the parents are left as they are; the same
Generator state gives the same children.
"""

from abc import ABC, abstractmethod

import numpy as np

from fitness.adapter import AdapterStack


class AdapterCrossover(ABC):
    """Makes one child adapter for each couple."""

    @abstractmethod
    def cross(self, first: AdapterStack, second: AdapterStack, rng: np.random.Generator) -> AdapterStack:
        """Return the children, one per couple.

        Args:
            first: the couples' first parents.
            second: their second parents: as many, of the same spec.
            rng: the only source of chance.

        Raises:
            AdapterError: the stacks differ in spec or length, or a factor is not finite.
        """
