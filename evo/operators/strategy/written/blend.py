"""Blend: a language model writes a child of two strategies."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from evo.operators.strategy.base import Draft, Genes, StrategyCrossover
from evo.operators.strategy.segment_crossover import SegmentCrossover
from evo.operators.strategy.written.pen import Pen
from evo.operators.strategy.written.prompts import ask_child, read_child
from fitness.environments.grammar import Grammar


@dataclass(frozen=True, kw_only=True)
class Blend(StrategyCrossover):
    """Both parents' strategies in the prompt, the child's out; a clause may also be neither parent's.

    Crossover by a language model: Meyerson et al. 2023, https://arxiv.org/abs/2302.12170; Guo et al. 2023 (EvoPrompt),
    https://arxiv.org/abs/2309.08532.
    """

    instruction: str = "Combine the strategies of two agents that must survive into a better one."
    """Begins the prompt."""
    pen: Pen = field(default_factory=lambda: Pen(limit=128))
    fallback: StrategyCrossover = field(default_factory=SegmentCrossover)
    """Stands behind the answer."""

    def cross(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Return what stands behind the answer; see `StrategyCrossover.cross`."""
        return self.fallback.cross(first, second, rng)

    def crossing(self, first: Genes, second: Genes, grammar: Grammar, rng: np.random.Generator) -> Draft:
        """Ask for a child; see `StrategyCrossover.crossing`."""
        fallback = self.fallback.cross(first, second, rng)
        prompt = f"{self.instruction}\n{ask_child(first, second, grammar)}"
        answer = yield self.pen.ask(prompt, partial(read_child, grammar), rng)
        return self.pen.choose(answer, fallback)
