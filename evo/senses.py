"""How much agents' behaviour minds a change of each of their weights, as operators may ask for it.

Owns the observations that agents are asked about: those of an expert's life in a few fixed worlds, so that a run that
is resumed asks the same. The measure itself is `finetune.sensitivity`.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from finetune.sensitivity import sensitivity
from fitness.adapter import AdapterStack
from fitness.agent import Agent
from fitness.engines.population import PopulationEngine
from fitness.environments.base import EnvironmentConfig

_WORLDS = np.arange(4)
_OBSERVATIONS = 8
_TOGETHER = 8
"""Agents that are measured at a time, for memory grows with them."""


class Senses:
    """Measures sensitivities.

    Example: `Senses(engine, environment, temperature=0.5)(["eat when low. ..."], stack)`
    """

    def __init__(self, engine: PopulationEngine, environment: EnvironmentConfig, temperature: float) -> None:
        """Ask agents of `environment` that act on `engine`'s model at `temperature`."""
        self._engine, self._environment, self._temperature = engine, environment, temperature

    def __call__(self, strategies: Sequence[str], stack: AdapterStack) -> AdapterStack:
        """Return the sensitivity of every weight of P agents, in the form of their adapters [P]."""
        agents = [
            Agent(id=place, strategy=strategy, adapter=adapter, temperature=self._temperature)
            for place, (strategy, adapter) in enumerate(zip(strategies, stack, strict=True))
        ]
        parts = [
            sensitivity(self._engine.model, self._engine.prompts, agents[first : first + _TOGETHER], self._observations)
            for first in range(0, len(agents), _TOGETHER)
        ]
        return AdapterStack.of([adapter for part in parts for adapter in part])

    @cached_property
    def _observations(self) -> list[str]:
        """Texts that an expert reads, evenly over its lives."""
        env = self._environment.make(len(_WORLDS))
        texts, _ = env.reset(seed=_WORLDS.tolist())
        read, over = list(texts), np.zeros(len(_WORLDS), bool)
        while not over.all():
            texts, _, died, outlived, _ = env.step(env.expert_actions())
            over |= died | outlived
            read += [text for text, ended in zip(texts, over, strict=True) if not ended]
        return [read[i * len(read) // _OBSERVATIONS] for i in range(_OBSERVATIONS)]
