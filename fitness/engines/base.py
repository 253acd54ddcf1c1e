"""The contract of an engine: seats agents, then decides for any of them.

Owns the data that crosses the seam. An engine has no randomness of its own: each decision brings a uniform number
from its episode's seed, so that who shares a batch cannot change a life. To add an engine, derive from `Engine` in a
new file and name it in YAML.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.agent import Agent


@dataclass(frozen=True)
class Decisions:
    """What n agents chose."""

    actions: NDArray[np.int64]
    """[n] index into the environment's action names."""
    log_probabilities: NDArray[np.float32]
    """[n, actions] of each named action, after temperature; each row sums to 1 in probability."""
    prompt_tokens: NDArray[np.int64]
    """[n] tokens of strategy and observation together."""


@dataclass(frozen=True)
class Usage:
    """What an engine has spent since it was made."""

    decisions: int = 0
    forward_flops: float = 0.0
    """Multiply-adds counted as two, of tokens that were really computed."""
    model_seconds: float = 0.0
    """Wall-clock seconds inside the model."""


class Engine(ABC):
    """Decides for a seated population."""

    @abstractmethod
    def seat(self, agents: Sequence[Agent]) -> None:
        """Make `agents` ready; seat i is `agents[i]` until the next call."""

    @abstractmethod
    def decide(self, seats: NDArray[np.int64], observations: Sequence[str], uniforms: NDArray[np.float64]) -> Decisions:
        """Choose one action per row.

        Args:
            seats: [n] which seated agent decides.
            observations: n texts.
            uniforms: [n] numbers in [0, 1) from each episode's own seed.
        """

    @property
    @abstractmethod
    def usage(self) -> Usage:
        """What has been spent so far."""


def draw(log_probabilities: NDArray[np.float32], uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pick [n] actions whose slices of the cumulative distribution [n, actions] hold the uniform numbers [n]."""
    cumulative = np.cumsum(np.exp(log_probabilities.astype(np.float64)), axis=1)
    picked = (uniforms[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
    return np.asarray(np.minimum(picked, log_probabilities.shape[1] - 1), np.int64)
