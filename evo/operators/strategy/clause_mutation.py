"""Clause mutation: a slot's clause is replaced by another one that the grammar has for it."""

from dataclasses import dataclass

import numpy as np

from evo.operators.strategy.base import StrategyMutation
from fitness.environments.grammar import Grammar, Slot


@dataclass(frozen=True, kw_only=True)
class ClauseMutation(StrategyMutation):
    """Every slot changes with the genome's own rate, to a different clause, each equally likely."""

    def mutate(
        self, genes: tuple[str, ...], step_size: float, grammar: Grammar, rng: np.random.Generator
    ) -> tuple[str, ...]:
        """Return `genes` with some clauses replaced; see `StrategyMutation.mutate`."""
        if len(genes) != len(grammar.slots):
            raise ValueError(f"genes: expected one clause for each of {len(grammar.slots)} slots, got {len(genes)}")
        changed = rng.random(len(genes)) < step_size
        pairs = zip(grammar.slots, genes, changed, strict=True)
        return tuple(_another(slot, clause, rng) if change else clause for slot, clause, change in pairs)


def _another(slot: Slot, clause: str, rng: np.random.Generator) -> str:
    """Return a clause of `slot` other than `clause`, or `clause` where there is no other."""
    others = [other for other in slot.clauses if other != clause]
    return others[rng.integers(len(others))] if others else clause
