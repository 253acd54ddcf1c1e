"""A life lived once more to be looked at: map, text, chances of every action and vitals, step by step.

Owns `live_again`: the world is made anew and taken through the same actions, which shows the same life because worlds
are functions of their seed and the actions, and the agent says once more how likely it was to do each thing. That it is
the same life is checked. Does not own which lives are worth it (`evo.replays`) or how they are kept
(`fitness.telemetry`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.agent import Agent
from fitness.engines.base import Engine, decide_each
from fitness.environments.base import EnvironmentConfig, Ints
from fitness.errors import EngineError
from fitness.records import Replay
from fitness.rollout import Lives


@dataclass(frozen=True)
class _Shown:
    """All that one life shows, the moment after its last decision included."""

    observation: tuple[str, ...]
    picture: tuple[str, ...]
    vitals: NDArray[np.float32]
    end: str
    cause: str


def live_again(
    engine: Engine, environment: EnvironmentConfig, agent: Agent, lives: Lives, seed: int, title: str
) -> Replay:
    """Return one of the lives that were recorded, with all that can be shown of it.

    Args:
        engine: has decided in it; its seats are taken by `agent`.
        environment: makes the world.
        agent: whose life.
        lives: what was recorded, this life among it.
        seed: of the world.
        title: why this life.

    Raises:
        EngineError: what is lived now is not what was recorded, or the engine breaks.
    """
    lived, told = lives.transitions, lives.episodes
    mine = np.flatnonzero((lived.agent == agent.id) & (lived.seed == seed))
    place = np.flatnonzero((told.agent == agent.id) & (told.seed == seed))[0]
    actions, end, cause = lived.action[mine], str(told.end[place]), str(told.cause[place])
    shown = _show(environment, seed, actions.astype(np.int64))
    if (shown.observation[:-1], shown.end, shown.cause) != (tuple(lived.observation[mine]), end, cause):
        raise EngineError(f"replay: expected the life of genome {agent.id} on seed {seed} as recorded, got another one")
    return Replay(
        title=title,
        agent=agent.id,
        seed=seed,
        end=end,
        cause=cause,
        observation=shown.observation,
        action=actions,
        probabilities=_ask(engine, agent, list(lived.observation[mine])),
        vitals=shown.vitals,
        picture=shown.picture,
    )


def _show(environment: EnvironmentConfig, seed: int, actions: Ints) -> _Shown:
    """Take a world through `actions` [t] and note t + 1 moments."""
    env = environment.make(1)
    env.begin(np.array([seed]), np.zeros(1, np.int64))
    texts, maps, vitals = env.observe(), env.picture(), [np.array(env.vitals[0], np.float32)]
    for action in actions:
        env.advance(np.array([action]))
        texts, maps = texts + env.observe(), maps + env.picture()
        vitals.append(np.array(env.vitals[0], np.float32))
    end = "died" if env.died[0] else "outlived" if env.outlived[0] else "failed"
    return _Shown(tuple(texts), tuple(maps), np.stack(vitals), end, env.causes[env.cause[0]] if env.died[0] else "")


def _ask(engine: Engine, agent: Agent, observations: list[str]) -> NDArray[np.float32]:
    """Return how likely the agent is to do each thing, [t, actions]."""
    engine.seat([agent])
    nothing = np.zeros(len(observations))
    decided, errors = decide_each(engine, nothing.astype(np.int64), observations, nothing)
    broken = [error for error in errors if error]
    if broken:
        raise EngineError(f"replay: {broken[0]}")
    return np.exp(decided.log_probabilities)
