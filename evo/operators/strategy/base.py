"""What every operator on strategy genes promises.

Owns the two contracts: the result has one clause for each slot (empty ones, in free slots, last), the parents are left
as they are, and the same Generator state, with the same answers where texts are asked for, gives the same result.

An operator that works by chance alone has one method, `cross` or `mutate`. One that asks a language model also has
`crossing` or `mutating`, a *draft*: a generator that yields what it asks, is sent the answer, and returns the genes.
`evo.operators.strategy.author` takes the drafts of a whole population forward together, so that all their texts are
written in one batch. Drafts that ask for nothing come one after another, and draw as if there were no batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from fitness.engines.base import Request
from fitness.environments.grammar import Grammar

Genes = tuple[str, ...]
"""One clause per slot."""


@dataclass(frozen=True)
class Ask:
    """A text that an operator wants, and how it will be read."""

    request: Request
    read: Callable[[str], Genes | None]
    """Returns the genes that a text stands for; None if it is unusable, whatever it may be."""


Draft = Generator[Ask, Genes | None, Genes]
"""Genes in the making."""


class StrategyCrossover(ABC):
    """Makes one child's genes of two parents'."""

    @abstractmethod
    def cross(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Return the child's genes, one clause per slot.

        Args:
            first: the first parent's genes.
            second: the second parent's genes, as many.
            rng: the only source of chance.

        Raises:
            ValueError: the parents have different numbers of slots.
        """

    def crossing(self, first: Genes, second: Genes, grammar: Grammar, rng: np.random.Generator) -> Draft:
        """Make the child's genes, asking an author on the way; by itself, `cross` without asking."""
        del grammar
        yield from ()
        return self.cross(first, second, rng)


class StrategyMutation(ABC):
    """Changes the genes of one genome."""

    @abstractmethod
    def mutate(self, genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> Genes:
        """Return the changed genes, one clause per slot; may equal `genes`.

        Args:
            genes: one clause per slot of `grammar`.
            step_size: chance of a change per slot, 0 to 1.
            grammar: the slots and their clauses.
            rng: the only source of chance.

        Raises:
            ValueError: `genes` does not have one clause per slot.
        """

    def mutating(self, genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> Draft:
        """Change the genes, asking an author on the way; by itself, `mutate` without asking."""
        yield from ()
        return self.mutate(genes, step_size, grammar, rng)


def check_genes(genes: Genes, grammar: Grammar) -> None:
    """Raise a `ValueError` unless there is one clause per slot."""
    if len(genes) != len(grammar.slots):
        raise ValueError(f"genes: expected one clause for each of {len(grammar.slots)} slots, got {len(genes)}")
