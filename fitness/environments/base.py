"""The contract of an environment: a batch of episodes that speaks text, on Gymnasium's vector API.

Owns the seam between worlds and everything that lives in them. An episode *dies* (`terminated`) or *outlives* the
horizon (`truncated`); the two never mix. An episode that is over stays as it is until it is reset (autoreset is
disabled).

To add an environment: derive an `EnvironmentConfig` (its knobs) and a `TextVectorEnv`, name the config in a YAML file
under `conf/environment/`, and run `fitness.environments.conformance.check_environment` over it. With `signs` and
`picture` a report shows its lives on a map.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from fitness.environments.grammar import Grammar
from fitness.records import Sign

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class TextVectorEnv(gymnasium.vector.VectorEnv[tuple[str, ...], Ints, Any], ABC):
    """n episodes side by side, each a function of its own seed and actions alone."""

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012 (Gymnasium's own declaration)
    action_names: tuple[str, ...]
    """What an agent may choose, each a plain word."""
    idle: str = ""
    """The action that stands for doing nothing, taken where an answer in words cannot be read; "" for none: agents can
    then only choose."""
    vital_names: tuple[str, ...]
    causes: tuple[str, ...]
    """What an agent can die of."""
    manual: str
    """The rules in plain words, without what only experience can teach."""
    grammar: Grammar
    """The strategies that agents of this environment may be told."""
    horizon: int
    """Steps after which an episode is outlived."""
    signs: tuple[Sign, ...] = ()
    """What stands in the cells of a map, the agent first; none if there is no map."""

    def __init__(self, num_envs: int, longest_text: int) -> None:
        """Declare Gymnasium's spaces for `num_envs` episodes."""
        self.num_envs = num_envs
        self.single_observation_space = gymnasium.spaces.Text(longest_text, charset=_PRINTABLE)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.single_action_space = gymnasium.spaces.Discrete(len(self.action_names))
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)

    @abstractmethod
    def begin(self, seeds: Ints, rows: Ints) -> None:
        """Begin the episodes `seeds` [k] in the places `rows` [k]."""

    @abstractmethod
    def advance(self, actions: Ints) -> None:
        """Live one step without making texts; `actions` [n] indexes `action_names`."""

    @abstractmethod
    def observe(self) -> list[str]:
        """Return what each of the n agents is told now."""

    def picture(self) -> list[str]:
        """Return a map of each of the n episodes for people to look at; an environment may leave this out.

        A map is lines of equal length joined by line breaks, and each character is the mark of one of `signs`.
        """
        return [""] * self.num_envs

    @abstractmethod
    def expert_actions(self) -> Ints:
        """Return the actions [n] of a scripted policy that knows every rule but sees no more than the text says."""

    @property
    @abstractmethod
    def vitals(self) -> NDArray[np.float32]:
        """[n, vitals] how each agent stands, 0 is deadly and 1 is full."""

    @property
    @abstractmethod
    def died(self) -> Bools:
        """[n] who is dead."""

    @property
    @abstractmethod
    def outlived(self) -> Bools:
        """[n] who lives at the horizon."""

    @property
    @abstractmethod
    def cause(self) -> Ints:
        """[n] index into `causes`, -1 for the living."""

    @property
    @abstractmethod
    def length(self) -> Ints:
        """[n] steps lived so far."""

    @property
    def over(self) -> Bools:
        """[n] dead or at the horizon."""
        return self.died | self.outlived

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begin episodes.

        Args:
            seed: one per episode, or one from which n are counted up; none draws them from `np_random`.
            options: `reset_mask` [n] restarts only some episodes.
        """
        mask = (
            np.ones(self.num_envs, bool)
            if not options
            else np.asarray(options.get("reset_mask", True)) | np.zeros(self.num_envs, bool)
        )
        rows = np.flatnonzero(mask)
        seeds = self._seeds(seed)
        if isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))  # So that later resets without a seed are repeatable, as Gymnasium promises.
        self.begin(seeds[rows], rows)
        return tuple(self.observe()), {}

    def step(self, actions: Ints) -> tuple[tuple[str, ...], NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        """Live one step; the reward is 1 for every step that an agent comes through alive."""
        chosen = np.asarray(actions, np.int64)
        if chosen.shape != (self.num_envs,) or (chosen < 0).any() or (chosen >= len(self.action_names)).any():
            raise ValueError(f"actions: expected {self.num_envs} integers below {len(self.action_names)}, got {chosen}")
        living = ~self.over
        self.advance(chosen)
        reward = (living & ~self.died).astype(np.float64)
        info = {"cause": self.cause.copy(), "length": self.length.copy(), "vitals": self.vitals.copy()}
        return tuple(self.observe()), reward, self.died.copy(), self.outlived.copy(), info

    def _seeds(self, seed: int | Sequence[int] | None) -> Ints:
        """Return one seed per episode."""
        if seed is None:
            return self.np_random.integers(0, 2**31, self.num_envs)
        seeds = np.asarray(seed, np.int64)
        if seeds.ndim == 0:
            seeds = seeds + np.arange(self.num_envs)
        if seeds.shape != (self.num_envs,) or (seeds < 0).any():
            raise ValueError(f"seed: expected {self.num_envs} integers of at least 0, got {seed!r}")
        return seeds


class EnvironmentConfig(ABC):
    """Base of every environment's own frozen config: the knobs, and how to make a batch of episodes."""

    @property
    @abstractmethod
    def env_id(self) -> str:
        """Name of the environment."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Raised whenever the same seed and actions would end otherwise."""

    @abstractmethod
    def make(self, num_envs: int) -> TextVectorEnv:
        """Return a batch of `num_envs` episodes, to be begun by `reset`."""


def random_actions(env: TextVectorEnv, uniforms: NDArray[np.float64]) -> Ints:
    """Return any legal action [n], equally likely, from uniform numbers [n] in [0, 1)."""
    return (uniforms * len(env.action_names)).astype(np.int64)


_PRINTABLE = frozenset(chr(code) for code in range(32, 127))
