"""Reflection: a language model that has read how an agent died puts one of its clauses anew."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from evo.operators.strategy.base import Draft, Genes, check_genes
from evo.operators.strategy.written.pen import Pen
from evo.operators.strategy.written.prompts import ask_clause, read_clause
from evo.operators.strategy.written.rewrite import candidates, replaced
from fitness.environments.grammar import Grammar


@dataclass(frozen=True, kw_only=True)
class Reflection:
    """One clause of a parent is rewritten in view of its last steps before death (GEPA).

    Reflective mutation: Agrawal et al. 2025, https://arxiv.org/abs/2507.19457. Differs from it: the clause is drawn,
    each equally likely, and not taken in turn, so that there is nothing to remember between generations; and the child
    is accepted unless it is worse than the parent by more than the algorithm's tolerance on the seeds that both lived
    (`evo.algorithms.base.judge`), where GEPA asks for a strict gain.

    It is no mutation of breeding, since it needs what the parent lived, and an answer to whether it is better. The loop
    treats it as it treats a tuned child: after `tell`,

        stories = [tell_deaths(elite.id, lives.episodes, lives.transitions, env.action_names) for elite in elites]
        drafts = [reflection.reflecting(e.genes, s, grammar, rng) for e, s in zip(elites, stories)]
        pairs = [(e, genes) for e, genes in zip(elites, together(drafts, author)) if genes != e.genes]
        algorithm.adopt([(e.id, <e with these genes, a new id and itself as parent>) for e, genes in pairs])

    so that parent and child live the next generation's seeds side by side, and `tell` judges them.
    """

    instruction: str = "An agent must survive. Read how it died and improve its strategy."
    """Begins the prompt."""
    pen: Pen = field(default_factory=Pen)

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
