"""Agents x environment x seeds -> episodes and transitions: every life is lived here.

Owns the loop of looking, deciding and living, and the chance of decisions: it comes from the world's seed and the
agent's id alone, so that the same agent lives the same life whatever else shares the batch. Does not own how
decisions are made (`fitness.engines`) or what the world does (`fitness.environments`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitness.agent import Agent
from fitness.engines.base import Engine
from fitness.environments.base import EnvironmentConfig, Ints, TextVectorEnv
from fitness.environments.chance import uniform
from fitness.records import Episodes, Transitions

_DECISIONS = 1_000
"""The stream of decisions; an agent's id is added to it, so that two agents never share their luck."""

Policy = Callable[[TextVectorEnv, NDArray[np.float64]], Ints]


@dataclass(frozen=True)
class Lives:
    """All that a rollout saw."""

    episodes: Episodes
    transitions: Transitions


@dataclass(frozen=True)
class _Moment:
    """What k living agents saw and did in one step; arrays [k]."""

    rows: Ints
    step: int
    observation: NDArray[np.object_]
    action: Ints
    log_probability: NDArray[np.float32]
    vitals: NDArray[np.float32]
    alive: NDArray[np.bool_]
    prompt_tokens: Ints


def roll_out(engine: Engine, environment: EnvironmentConfig, agents: Sequence[Agent], seeds: Ints) -> Lives:
    """Let every agent live once on every seed.

    Args:
        engine: decides; its seats are taken by `agents`.
        environment: makes the worlds.
        agents: P agents.
        seeds: [E] world seeds that all agents share (common random numbers), or [P, E] each agent's own.

    Returns:
        P x E episodes ordered by (agent, seed) as given, and their transitions ordered by (agent, seed, step).
    """
    engine.seat(agents)
    each = np.broadcast_to(np.asarray(seeds, np.int64), (len(agents), np.shape(seeds)[-1]))
    env = environment.make(each.size)
    ids = np.repeat(np.array([agent.id for agent in agents], np.int64), each.shape[1])
    seats = np.repeat(np.arange(len(agents)), each.shape[1])
    worlds = each.ravel().copy()
    env.begin(worlds, np.arange(env.num_envs))
    moments: list[_Moment] = []
    while not env.over.all():
        moments.append(_live_one_step(engine, env, seats, _luck(worlds, ids, len(moments)), len(moments)))
    return Lives(_episodes(env, ids, worlds), _transitions(moments, ids, worlds))


def live_scripted(environment: EnvironmentConfig, policy: Policy, seeds: Ints) -> Episodes:
    """Let a scripted policy live once on every seed; `policy` gets the batch and uniform numbers [n] from its seeds."""
    env = environment.make(len(seeds))
    worlds = np.asarray(seeds, np.int64)
    env.begin(worlds, np.arange(len(worlds)))
    step = 0
    while not env.over.all():
        env.advance(policy(env, uniform(worlds, step, _DECISIONS)[:, 0]))
        step += 1
    return _episodes(env, np.full(len(worlds), -1, np.int64), worlds)


def _luck(worlds: Ints, ids: Ints, step: int) -> NDArray[np.float64]:
    """Return the uniform number [n] of each decision."""
    keys = worlds + (ids + 1) * 2_862_933_555_777_941_757  # an odd constant: the pairs (world, agent) do not collide
    return uniform(keys, step, _DECISIONS)[:, 0]


def _live_one_step(engine: Engine, env: TextVectorEnv, seats: Ints, luck: NDArray[np.float64], step: int) -> _Moment:
    """Let all who live look, decide and act."""
    rows = np.flatnonzero(~env.over)
    texts = env.observe()
    observation = np.array([texts[i] for i in rows], object)
    decided = engine.decide(seats[rows], list(observation), luck[rows])
    vitals = env.vitals[rows].copy()
    actions = np.zeros(env.num_envs, np.int64)
    actions[rows] = decided.actions
    env.advance(actions)
    chosen = decided.log_probabilities[np.arange(len(rows)), decided.actions]
    return _Moment(rows, step, observation, decided.actions, chosen, vitals, ~env.died[rows], decided.prompt_tokens)


def _episodes(env: TextVectorEnv, ids: Ints, worlds: Ints) -> Episodes:
    """Read the ends of all episodes."""
    names = np.array([*env.causes, ""], object)
    end = np.where(env.died, "died", "outlived").astype(object)
    blank = np.full(len(ids), "", object)
    return Episodes(ids, worlds, env.length.astype(np.int32), end, names[env.cause], blank)


def _transitions(moments: Sequence[_Moment], ids: Ints, worlds: Ints) -> Transitions:
    """Put the moments of all steps in the order of (episode, step)."""
    rows = np.concatenate([m.rows for m in moments])
    step = np.concatenate([np.full(len(m.rows), m.step, np.int32) for m in moments])
    order = np.lexsort((step, rows))

    def gather(name: str) -> NDArray[Any]:
        """Put one field of all moments in order."""
        return np.asarray(np.concatenate([getattr(m, name) for m in moments])[order])

    alive = gather("alive")
    return Transitions(
        agent=ids[rows[order]],
        seed=worlds[rows[order]],
        step=step[order],
        observation=gather("observation"),
        action=gather("action").astype(np.int16),
        log_probability=gather("log_probability"),
        reward=alive.astype(np.float32),
        vitals=gather("vitals"),
        alive=alive,
        prompt_tokens=gather("prompt_tokens").astype(np.int32),
    )
