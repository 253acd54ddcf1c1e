"""Several mutations, one after another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evo.operators.strategy.base import Draft, Genes, StrategyMutation
from fitness.environments.grammar import Grammar
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Chain(StrategyMutation):
    """Each member works on what the one before left, with the same step size.

    Example: `Chain(members=(ClauseMutation(), ClauseInsertion(), ClauseDeletion(), ClauseShift()))`
    """

    members: Sequence[StrategyMutation]
    """In their order; at least one."""

    def __post_init__(self) -> None:
        """Refuse an empty chain."""
        object.__setattr__(self, "members", tuple(self.members))
        if not self.members:
            raise ConfigError("members: expected at least one mutation, got none")

    def mutate(self, genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> Genes:
        """Return what the last member leaves; see `StrategyMutation.mutate`."""
        for member in self.members:
            genes = member.mutate(genes, step_size, grammar, rng)
        return genes

    def mutating(self, genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> Draft:
        """Let each member ask for itself; see `StrategyMutation.mutating`."""
        for member in self.members:
            genes = yield from member.mutating(genes, step_size, grammar, rng)
        return genes
