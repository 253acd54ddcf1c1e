"""Episodes -> fitness: what makes one life better than another, and the yardstick that makes worlds comparable.

Owns objectives (members are frozen dataclasses named in YAML under `conf/objective/`) and `Yardstick`. To add one,
derive from `Objective`: one finite number per episode, larger is better; `failed` episodes are never scored.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.environments.base import EnvironmentConfig, Ints, random_actions
from fitness.errors import ConfigError
from fitness.records import Episodes
from fitness.rollout import live_scripted


class Objective(ABC):
    """Gives every episode a number."""

    @abstractmethod
    def values(self, episodes: Episodes) -> NDArray[np.float64]:
        """Return [n] numbers, NaN for episodes that failed."""

    def by_agent(self, episodes: Episodes) -> Mapping[int, NDArray[np.float64]]:
        """Return each agent's values [E], NaN where an episode failed, in the order of the episodes."""
        values = self.values(episodes)
        return {int(i): values[episodes.agent == i] for i in np.unique(episodes.agent)}


@dataclass(frozen=True, kw_only=True)
class Lifespan(Objective):
    """Steps lived; who outlives the horizon has lived all of it."""

    def values(self, episodes: Episodes) -> NDArray[np.float64]:
        """Return the lengths of the episodes."""
        return np.where(episodes.end == "failed", np.nan, episodes.length.astype(np.float64))


_LEAST_LEAD = 1.25
"""A shorter yardstick than this measures noise."""


@dataclass(frozen=True)
class Yardstick:
    """Score = (mean lifespan - random) / (expert - random): 0 lives like chance, 1 like who knows every rule."""

    random: float
    """Mean lifespan of random actions."""
    expert: float
    """Mean lifespan of the scripted expert; above `random`."""

    def __post_init__(self) -> None:
        """Refuse a yardstick without length."""
        if not self.expert >= _LEAST_LEAD * self.random:
            raise ConfigError(
                f"environment: expected an expert that lives at least {_LEAST_LEAD} times as long as random actions, "
                f"got mean lifespans of {self.expert:.1f} and {self.random:.1f} (a longer horizon helps)"
            )

    def score(self, lifespan: float) -> float:
        """Return the score of a mean lifespan."""
        return (lifespan - self.random) / (self.expert - self.random)

    @classmethod
    def measure(cls, environment: EnvironmentConfig, seeds: Ints) -> "Yardstick":
        """Let both scripted policies live on `seeds`."""
        lived = (
            live_scripted(environment, random_actions, seeds),
            live_scripted(environment, lambda env, _: env.expert_actions(), seeds),
        )
        whole = (lived[0].end != "failed") & (lived[1].end != "failed")
        if not whole.any():
            raise ConfigError(
                f"environment: expected worlds to live in, got none that did not fail ({lived[0].error[0]})"
            )
        return cls(*(float(episodes.length[whole].mean()) for episodes in lived))
