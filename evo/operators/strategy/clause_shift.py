"""Clause shift: a strategy's sentences change their order."""

from dataclasses import dataclass

import numpy as np

from evo.operators.strategy.base import Genes, StrategyMutation, check_genes
from fitness.environments.grammar import Grammar


@dataclass(frozen=True, kw_only=True)
class ClauseShift(StrategyMutation):
    """With chance `step_size`, one of the sentences in free slots moves to another place among them.

    Closed slots keep their order: it is what the model was taught, and what tells their clauses apart.
    """

    def mutate(self, genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> Genes:
        """Return `genes` in another order, or as they are; see `StrategyMutation.mutate`."""
        check_genes(genes, grammar)
        full = sum(map(bool, genes))
        if full < grammar.closed + 2 or rng.random() >= step_size:
            return genes
        source, target = (int(place) for place in rng.choice(np.arange(grammar.closed, full), 2, replace=False))
        rest = [*genes[:source], *genes[source + 1 :]]
        return (*rest[:target], genes[source], *rest[target:])
