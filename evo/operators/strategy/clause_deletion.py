"""Clause deletion: a strategy loses a sentence."""

from dataclasses import dataclass

import numpy as np

from evo.operators.strategy.base import Genes, StrategyMutation, check_genes
from fitness.environments.grammar import Grammar


@dataclass(frozen=True, kw_only=True)
class ClauseDeletion(StrategyMutation):
    """With chance `step_size`, one of the sentences in free slots goes, each equally likely; closed slots stay."""

    def mutate(self, genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> Genes:
        """Return `genes` with one clause less, or as they are; see `StrategyMutation.mutate`."""
        check_genes(genes, grammar)
        full = sum(map(bool, genes))
        if full == grammar.closed or rng.random() >= step_size:
            return genes
        place = int(rng.integers(grammar.closed, full))
        return (*genes[:place], *genes[place + 1 :], "")
