"""Rewrite: a language model puts one clause anew."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from evo.operators.strategy.base import Draft, Genes, StrategyMutation, check_genes
from evo.operators.strategy.clause_mutation import another_clause
from evo.operators.strategy.written.pen import Pen
from evo.operators.strategy.written.prompts import ask_clause, read_clause
from fitness.environments.grammar import Grammar


@dataclass(frozen=True, kw_only=True)
class Rewrite(StrategyMutation):
    """One clause, of a slot that is due at the genome's own rate, is rewritten; the grammar's operator stands behind.

    Every slot that holds a clause is due with chance `step_size`, as in `ClauseMutation`, and so is the first empty one
    (whose rewriting is an insertion); of those that are due, one is drawn. Where none is, nothing is asked. Behind the
    answer stands another clause of the grammar's for the same slot, so that written and random changes differ in the
    clause and nothing else. Mutation by a language model: Fernando et al. 2023 (Promptbreeder),
    https://arxiv.org/abs/2309.16797.
    """

    instruction: str = "Improve the strategy of an agent that must survive."
    """Begins the prompt."""
    pen: Pen = field(default_factory=Pen)

    def mutate(self, genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> Genes:
        """Return what stands behind the answer: at most one clause replaced; see `StrategyMutation.mutate`."""
        place = _due(genes, step_size, grammar, rng)
        return genes if place is None else replaced(genes, place, grammar, rng)

    def mutating(self, genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> Draft:
        """Ask for another clause; see `StrategyMutation.mutating`."""
        place = _due(genes, step_size, grammar, rng)
        if place is None:
            return genes
        fallback = replaced(genes, place, grammar, rng)
        prompt = f"{self.instruction}\n{ask_clause(genes, place, grammar)}"
        answer = yield self.pen.ask(prompt, partial(read_clause, genes, place, grammar), rng)
        return self.pen.choose(answer, fallback)


def candidates(genes: Genes) -> int:
    """Return how many slots, from the first on, may be rewritten: all that hold a clause, and one that is empty."""
    return min(len(genes), sum(map(bool, genes)) + 1)


def replaced(genes: Genes, place: int, grammar: Grammar, rng: np.random.Generator) -> Genes:
    """Return the genes with another clause of the grammar's at `place`."""
    slot = grammar.slots[place]
    clause = another_clause(slot, genes[place], rng)
    return (*genes[:place], clause, *genes[place + 1 :])


def _due(genes: Genes, step_size: float, grammar: Grammar, rng: np.random.Generator) -> int | None:
    """Return which slot is rewritten, if any."""
    check_genes(genes, grammar)
    due = np.flatnonzero(rng.random(candidates(genes)) < step_size)
    return int(due[rng.integers(len(due))]) if len(due) else None
