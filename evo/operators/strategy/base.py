"""What every operator on strategy genes promises.

Owns the two contracts: the result has one clause for each slot, the parents are left as they are, and the same
Generator state gives the same result.
"""

from abc import ABC, abstractmethod

import numpy as np

from fitness.environments.grammar import Grammar


class StrategyCrossover(ABC):
    """Makes one child's genes of two parents'."""

    @abstractmethod
    def cross(self, first: tuple[str, ...], second: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
        """Return the child's genes, one clause per slot.

        Args:
            first: the first parent's genes.
            second: the second parent's genes, as many.
            rng: the only source of chance.

        Raises:
            ValueError: the parents have different numbers of slots.
        """


class StrategyMutation(ABC):
    """Changes the genes of one genome."""

    @abstractmethod
    def mutate(
        self, genes: tuple[str, ...], step_size: float, grammar: Grammar, rng: np.random.Generator
    ) -> tuple[str, ...]:
        """Return the changed genes, one clause per slot; may equal `genes`.

        Args:
            genes: one clause per slot of `grammar`.
            step_size: chance of a change per slot, 0 to 1.
            grammar: the slots and their clauses.
            rng: the only source of chance.

        Raises:
            ValueError: `genes` does not have one clause per slot.
        """
