"""What the organism is taught: situations from wanderers' lives, and what each strategy asks for in them.

Owns the sampling of (strategy, observation, action) lessons. Colours, seasons and dusk are drawn anew for every lesson,
independently of all else, so that nothing about them can be learnt: the hidden rules stay hidden.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fitness.environments.base import random_actions
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from fitness.environments.forage.percept import LEVELS, Percept, Sight
from fitness.environments.forage.policies import GRAMMAR, Traits, obey
from fitness.environments.forage.text import render
from fitness.environments.forage.world import COLOURS, DAY, DUSK, NIGHT, SEASONS

STRAY = 0.15
"""Share of random steps in the wanderers' lives, so that they meet situations their strategy avoids."""
FREE_LEVELS = 0.25
"""Share of lessons whose vitals are drawn freely, so that rare needs are practised too."""

HIDDEN = 0.15
"""Share of lessons in which each kind of thing is out of view, so that sparse worlds are practised too."""


@dataclass(frozen=True)
class Lessons:
    """Strategies and, for each, situations with the action asked for.

    Example: `strategies[3]` asks for action `actions[3, 5]` on reading `observations[3][5]`.
    """

    strategies: list[str]
    """[s]"""
    observations: list[list[str]]
    """[s][m]"""
    actions: NDArray[np.int64]
    """[s, m] index into the environment's action names."""


def random_traits(rng: np.random.Generator, count: int) -> Traits:
    """Draw `count` strategies."""
    return Traits(np.stack([rng.integers(len(slot.clauses), size=count) for slot in GRAMMAR.slots], axis=1))


class Wanderers:
    """An endless source of situations: a batch of scripted lives, begun again with a new strategy when over."""

    def __init__(self, rng: np.random.Generator, seeds: int, count: int = 2048) -> None:
        """Begin `count` lives on world seeds from `seeds` upwards."""
        self._rng, self._next_seed, self.count = rng, seeds, count
        self._env = ForageVectorEnv(num_envs=count, config=ForageConfig())
        self._traits = random_traits(rng, count)
        self._begin(np.arange(count))
        for _ in range(40):  # so that the lives are of mixed age
            self.live()

    def _begin(self, rows: NDArray[np.int64]) -> None:
        """Begin lives in `rows` on the next seeds."""
        self._env.begin(self._next_seed + np.arange(len(rows)), rows)
        self._next_seed += len(rows)
        self._traits.clauses[rows] = random_traits(self._rng, len(rows)).clauses

    def live(self) -> Percept:
        """Let all live one step and return what they saw before it."""
        seen = self._env.percept()
        actions = obey(self._traits, seen)
        strays = self._rng.random(self.count) < STRAY
        actions = np.where(strays, random_actions(self._env, self._rng.random(self.count)), actions)
        self._env.advance(actions)
        self._begin(np.flatnonzero(self._env.over))
        return seen


def teach(source: Wanderers, rng: np.random.Generator, strategies: int, per_strategy: int) -> Lessons:
    """Draw lessons: `strategies` random strategies, each with `per_strategy` situations from the wanderers' lives."""
    traits = random_traits(rng, strategies)
    percept = take(source.live(), rng.integers(source.count, size=strategies * per_strategy))
    percept = disguise(percept, rng)
    asked = obey(Traits(np.repeat(traits.clauses, per_strategy, axis=0)), percept)
    lines = render(percept, ForageConfig().view)
    rows = [lines[i * per_strategy : (i + 1) * per_strategy] for i in range(strategies)]
    return Lessons(traits.texts(), rows, asked.reshape(strategies, per_strategy))


def take(percept: Percept, rows: NDArray[np.int64]) -> Percept:
    """Return the views of `rows`."""
    berry, pond, den, wolf = (
        Sight(s.distance[rows], s.direction[rows]) for s in (percept.berry, percept.pond, percept.den, percept.wolf)
    )
    return Percept(
        percept.season[rows], percept.time[rows], percept.levels[rows], percept.berry_colour[rows],
        berry, pond, den, wolf,
    )  # fmt: skip


def disguise(percept: Percept, rng: np.random.Generator) -> Percept:
    """Draw colours, seasons and dusk anew, and some of the vitals."""
    n = len(percept.season)
    names = rng.permuted(np.tile(np.arange(len(COLOURS)), (n, 1)), axis=1)
    colour = np.where(percept.berry_colour >= 0, np.take_along_axis(names, np.maximum(percept.berry_colour, 0), 1), -1)
    time = np.where(percept.time == NIGHT, NIGHT, np.where(rng.random(n) < 0.5, DAY, DUSK))
    free = rng.random(n) < FREE_LEVELS
    levels = np.where(free[:, None], rng.integers(len(LEVELS), size=percept.levels.shape), percept.levels)
    colour, berry = _hide_berries(colour, percept.berry, rng)
    pond, den, wolf = (_hide(sight, rng) for sight in (percept.pond, percept.den, percept.wolf))
    percept = replace(percept, berry=berry, pond=pond, den=den, wolf=wolf)
    return replace(percept, season=rng.integers(len(SEASONS), size=n), time=time, levels=levels, berry_colour=colour)


def _hide(sight: Sight, rng: np.random.Generator) -> Sight:
    """Put a thing out of view in some lessons."""
    return replace(sight, distance=np.where(rng.random(len(sight.distance)) < HIDDEN, -1, sight.distance))


def _hide_berries(colour: NDArray[np.int64], berry: Sight, rng: np.random.Generator) -> tuple[NDArray[np.int64], Sight]:
    """Put the farther berries out of view in some lessons, all of them in fewer."""
    seen = np.where(rng.random(len(colour)) < HIDDEN, rng.integers(3, size=len(colour)), 3)
    hidden = np.arange(colour.shape[1]) >= seen[:, None]
    return np.where(hidden, -1, colour), replace(berry, distance=np.where(hidden, -1, berry.distance))
