"""Clause insertion: a strategy gains a sentence."""

from dataclasses import dataclass

import numpy as np

from evo.operators.strategy.base import Genes, StrategyMutation, check_genes
from fitness.environments.grammar import Grammar


@dataclass(frozen=True, kw_only=True)
class ClauseInsertion(StrategyMutation):
    """With chance `step_size`, a sentence of the grammar's that is not there yet is put among those of the free slots.

    Sentence and place are each equally likely. Nothing happens where no slot is free and empty. One insertion at the
    same chance as `ClauseDeletion`'s one deletion: together they leave the length without a drift.
    """

    def mutate(self, genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> Genes:
        """Return `genes` with one more clause, or as they are; see `StrategyMutation.mutate`."""
        check_genes(genes, grammar)
        if "" not in genes or rng.random() >= step_size:
            return genes
        new = [clause for clause in grammar.slots[-1].clauses if clause not in genes[grammar.closed :]]
        if not new:
            return genes
        place = int(rng.integers(grammar.closed, genes.index("") + 1))
        longer = (*genes[:place], new[rng.integers(len(new))], *genes[place:])
        return longer[: len(genes)]
