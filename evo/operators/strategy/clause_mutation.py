"""Clause mutation: a slot's clause is replaced by another one that the grammar has for it."""

from dataclasses import dataclass

import numpy as np

from evo.operators.strategy.base import Genes, StrategyMutation, check_genes
from fitness.environments.grammar import Grammar, Slot


@dataclass(frozen=True, kw_only=True)
class ClauseMutation(StrategyMutation):
    """Every slot changes with the genome's own rate, to a different clause, each equally likely.

    Empty slots stay empty (`ClauseInsertion` fills them).
    """

    def mutate(self, genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> Genes:
        """Return `genes` with some clauses replaced; see `StrategyMutation.mutate`."""
        check_genes(genes, grammar)
        changed = rng.random(len(genes)) < step_size
        pairs = zip(grammar.slots, genes, changed, strict=True)
        return tuple(
            another_clause(slot, clause, rng) if change and clause else clause for slot, clause, change in pairs
        )


def another_clause(slot: Slot, clause: str, rng: np.random.Generator) -> str:
    """Return a clause of `slot` other than `clause`, or `clause` where there is no other."""
    others = [other for other in slot.clauses if other != clause]
    return others[rng.integers(len(others))] if others else clause
