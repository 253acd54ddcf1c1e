"""Reflection: a language model that has read how an agent died puts one of its clauses anew."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from evo.operators.strategy.base import Draft, Genes, check_genes
from evo.operators.strategy.written.pen import Pen
from evo.operators.strategy.written.prompts import ask_clause, read_clause
from evo.operators.strategy.written.rewrite import candidates, replaced
from fitness.checks import check_integer
from fitness.environments.grammar import Grammar


@dataclass(frozen=True, kw_only=True)
class Reflection:
    """One clause of a parent is rewritten in view of its last steps before death (GEPA).

    Reflective mutation: Agrawal et al. 2025, https://arxiv.org/abs/2507.19457. Differs from it: the clause is drawn,
    each equally likely, and not taken in turn, so that there is nothing to remember between generations; and the child
    is accepted unless it is worse than the parent by more than the algorithm's tolerance on the seeds that both lived
    (`evo.algorithms.base.judge`), where GEPA asks for a strict gain.

    It is no mutation of breeding, since it needs what the parent lived, and an answer to whether it is better: the loop
    (`evo.evolution`) treats its child like a tuned one, so that parent and child live the next generation's seeds side
    by side, and `tell` judges them.

    Example: `Reflection(count=2)`
    """

    count: int = 2
    """Best survivors, of those that are not fine-tuned, that are rewritten in each generation; at least 1."""
    instruction: str = "An agent must survive. Read how it died and improve its strategy."
    """Begins the prompt."""
    pen: Pen = field(default_factory=Pen)

    def __post_init__(self) -> None:
        """Refuse a reflection on nobody."""
        check_integer("count", self.count, 1)

    def reflecting(self, genes: Genes, story: str, grammar: Grammar, rng: np.random.Generator) -> Draft:
        """Ask for another clause; the parent's genes, and no question, where there is nothing to tell.

        Args:
            genes: the parent's.
            story: how it died (`tell_deaths`); "" if it did not.
            grammar: slots and clauses.
            rng: the only source of chance.

        Raises:
            ValueError: `genes` does not have one clause per slot.
        """
        check_genes(genes, grammar)
        if not story:
            return genes
        place = int(rng.integers(candidates(genes)))
        fallback = replaced(genes, place, grammar, rng)
        prompt = f"{self.instruction}\n{story}\n{ask_clause(genes, place, grammar)}"
        answer = yield self.pen.ask(prompt, partial(read_clause, genes, place, grammar), rng)
        return self.pen.choose(answer, fallback)
