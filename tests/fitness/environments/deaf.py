"""A forage that hears nobody: what an agent does has no effect on how long it can expect to live.

Owns a world without an edge, for tests of those who claim to have found one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fitness.environments.base import Ints, TextVectorEnv, random_actions
from fitness.environments.chance import uniform
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv

_FATE, _WISE = 100, 101
"""Streams of chance that the world itself does not use."""
WISDOM = 0.6
"""Chance that a step is the expert's, so that some lives are short and some are long."""


class DeafVectorEnv(ForageVectorEnv):
    """Foragers who live by chance whatever they decide; their decisions change their luck, and never its odds.

    The expert alone is heard, so that the yardstick has its length.
    """

    def __init__(self, **knobs: Any) -> None:
        """Make room for what was said so far."""
        super().__init__(**knobs)
        self._said, self._expert = np.zeros(self.num_envs, np.int64), False

    def begin(self, seeds: Ints, rows: Ints) -> None:
        """Begin the episodes `seeds` [k] in the places `rows` [k]."""
        super().begin(seeds, rows)
        self._said[rows] = seeds

    def advance(self, actions: Ints) -> None:
        """Live one step of luck."""
        self._said = (self._said * 31 + actions + 1) % 2**40
        wise = uniform(self._said, self.world.clock, _WISE)[:, 0] < WISDOM
        fate = random_actions(self, uniform(self._said, self.world.clock, _FATE)[:, 0])
        super().advance(actions if self._expert else np.where(wise, super().expert_actions(), fate))
        self._expert = False

    def expert_actions(self) -> Ints:
        """Return the expert's choices [n], and listen to what comes next."""
        self._expert = True
        return super().expert_actions()


@dataclass(frozen=True, kw_only=True)
class DeafConfig(ForageConfig):
    """Knobs as forage has them."""

    @property
    def env_id(self) -> str:
        """Name of the environment."""
        return "deaf"

    def make(self, num_envs: int) -> TextVectorEnv:
        """Return a batch of `num_envs` episodes, to be begun by `reset`."""
        return DeafVectorEnv(num_envs=num_envs, config=self)
