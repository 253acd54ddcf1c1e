"""Hand-made records of lives, and a little world in which one bite decides; what the tests of fine-tuning share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitness.records import Transitions
from tests.fitness.models import ACTIONS

EAT, REST = ACTIONS.index("eat"), ACTIONS.index("rest")
RED, BARE = "day. red berry here.", "day. nothing."


@dataclass(frozen=True)
class Life:
    """One episode; every field but the first two and the last has one entry per decision."""

    agent: int
    seed: int
    observations: Sequence[str]
    actions: Sequence[int]
    vitals: Sequence[Sequence[float]]
    died: bool = True


def record(lives: Sequence[Life]) -> Transitions:
    """Put lives one after another; a step that is survived is worth 1."""
    steps = [len(life.actions) for life in lives]
    alive = np.concatenate([[True] * (n - 1) + [not life.died] for n, life in zip(steps, lives, strict=True)])
    count = sum(steps)
    return Transitions(
        agent=np.repeat([life.agent for life in lives], steps).astype(np.int64),
        seed=np.repeat([life.seed for life in lives], steps).astype(np.int64),
        step=np.concatenate([np.arange(n) for n in steps]).astype(np.int32),
        observation=np.array([text for life in lives for text in life.observations], object),
        action=np.array([action for life in lives for action in life.actions], np.int16),
        log_probability=np.full(count, -np.log(len(ACTIONS)), np.float32),
        reward=alive.astype(np.float32),
        vitals=np.array([vitals for life in lives for vitals in life.vitals], np.float32),
        alive=alive.astype(bool),
        prompt_tokens=np.full(count, 30, np.int32),
    )


def poison_world(agents: Sequence[int], lives: int = 12, seed: int = 0) -> Transitions:
    """Live where energy falls by 0.1 a step, every third look shows a red berry, and eating it costs 0.3 more."""
    rng = np.random.default_rng(seed)
    return record([_poisoned_life(agent, world, rng) for agent in agents for world in range(lives)])


def _poisoned_life(agent: int, world: int, rng: np.random.Generator) -> Life:
    """Live until the energy is gone."""
    energy, observations, actions, vitals = rng.uniform(0.7, 1.0), [], [], []
    while energy > 0:
        observations.append(RED if len(actions) % 3 == 1 else BARE)
        actions.append(int(rng.choice([EAT, REST])))
        vitals.append((energy, 0.5))
        energy -= 0.4 if (observations[-1], actions[-1]) == (RED, EAT) else 0.1
    return Life(agent, world, observations, actions, vitals)
