"""Forage as a Gymnasium vector environment: the world, its percept and its text behind one contract.

Owns nothing but the wiring; see `world.py` for the rules, `text.py` for the words, `picture.py` for the map,
`policies.py` for scripted lives.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitness.environments.base import Bools, Ints, TextVectorEnv
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.percept import Percept, perceive
from fitness.environments.forage.picture import SIGNS, picture
from fitness.environments.forage.policies import GRAMMAR, expert
from fitness.environments.forage.text import LONGEST, MANUAL, render
from fitness.environments.forage.world import ACTIONS, CAUSES, VITALS, World


class ForageVectorEnv(TextVectorEnv):
    """A batch of foragers."""

    action_names, vital_names, causes = ACTIONS, VITALS, CAUSES
    manual, grammar, signs = MANUAL, GRAMMAR, SIGNS
    idle = "rest"

    def __init__(self, *, num_envs: int = 1, config: ForageConfig | None = None, **knobs: Any) -> None:
        """Make `num_envs` episodes from a config, or from its fields given by name."""
        self.config = config or ForageConfig(**knobs)
        self.horizon = self.config.horizon
        super().__init__(num_envs, LONGEST)
        self.world = World(self.config, num_envs)

    def begin(self, seeds: Ints, rows: Ints) -> None:
        """Begin the episodes `seeds` [k] in the places `rows` [k]."""
        self.world.reset(seeds, rows)

    def advance(self, actions: Ints) -> None:
        """Live one step."""
        self.world.advance(actions)

    def percept(self) -> Percept:
        """Return what is seen, before it is put into words."""
        return perceive(self.world)

    def observe(self) -> list[str]:
        """Return one line of text per agent."""
        return render(self.percept(), self.config.view)

    def picture(self) -> list[str]:
        """Return each episode's map."""
        return picture(self.world)

    def expert_actions(self) -> Ints:
        """Return the expert's choices [n]."""
        return expert(self.percept())

    @property
    def vitals(self) -> NDArray[np.float32]:
        """[n, 4] energy, water, warmth and health."""
        return np.clip(self.world.vitals, 0.0, 1.0)

    @property
    def died(self) -> Bools:
        """[n] who is dead."""
        return self.world.died

    @property
    def outlived(self) -> Bools:
        """[n] who lives at the horizon."""
        return ~self.world.died & (self.world.clock >= self.horizon)

    @property
    def cause(self) -> Ints:
        """[n] index into the causes of death, -1 for the living."""
        return self.world.cause.astype(np.int64)

    @property
    def length(self) -> Ints:
        """[n] steps lived."""
        return self.world.clock
