"""Agents x environment x seeds -> episodes and transitions: every life is lived here.

Owns the loop of looking, deciding and living, and the chance of decisions: it comes from the world's seed and the
agent's id alone, so that the same agent lives the same life whatever else shares the batch. An episode that breaks,
be it in the engine or (`fitness.worlds`) in the environment, is lived again on the same seed and, if that does not
help, recorded as failed; its siblings do not notice. Does not own how decisions are made (`fitness.engines`) or what
the world does (`fitness.environments`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitness.agent import Agent
from fitness.engines.base import Engine, decide_each
from fitness.environments.base import EnvironmentConfig, Ints, TextVectorEnv
from fitness.environments.chance import uniform
from fitness.records import Answers, Episodes, Fault, Transitions
from fitness.worlds import View, Worlds

_DECISIONS = 1_000
"""The stream of decisions; an agent's id is added to it, so that two agents never share their luck."""

Policy = Callable[[TextVectorEnv, NDArray[np.float64]], Ints]


@dataclass(frozen=True)
class Lives:
    """All that a rollout saw."""

    episodes: Episodes
    transitions: Transitions
    """Of the episodes that did not fail."""
    faults: tuple[Fault, ...] = ()
    """What broke, whether it could be mended or not."""


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
    answers: Answers | None = None


@dataclass(frozen=True)
class _Crowd:
    """n episodes to be lived: who, where; arrays [n]."""

    seats: Ints
    ids: Ints
    worlds: Ints

    def __getitem__(self, rows: Ints) -> "_Crowd":
        """Return some of them."""
        return _Crowd(self.seats[rows], self.ids[rows], self.worlds[rows])


_NOTHING = _Moment(
    *(np.zeros(0, np.int64), 0, np.zeros(0, object), np.zeros(0, np.int64), np.zeros(0, np.float32)),
    *(np.zeros((0, 0), np.float32), np.zeros(0, bool), np.zeros(0, np.int64)),
)


def roll_out(
    engine: Engine, environment: EnvironmentConfig, agents: Sequence[Agent], seeds: Ints, *, retries: int = 1
) -> Lives:
    """Let every agent live once on every seed.

    Args:
        engine: decides; its seats are taken by `agents`.
        environment: makes the worlds.
        agents: P agents.
        seeds: [E] world seeds that all agents share (common random numbers), or [P, E] each agent's own.
        retries: how often an episode that failed is tried again, on the same seed.

    Returns:
        P x E episodes ordered by (agent, seed) as given, and the transitions of those that did not fail, ordered by
        (agent, seed, step).
    """
    engine.seat(agents)
    each = np.broadcast_to(np.asarray(seeds, np.int64), (len(agents), np.shape(seeds)[-1]))
    ids = np.repeat(np.array([agent.id for agent in agents], np.int64), each.shape[1])
    crowd = _Crowd(np.repeat(np.arange(len(agents)), each.shape[1]), ids, each.ravel().copy())
    ends, moments = _live(engine, environment, crowd)
    broken = list(ends.error[ends.error != ""])
    for _ in range(retries):
        failed = np.flatnonzero(ends.end == "failed")
        if not len(failed):
            break
        again, more = _live(engine, environment, crowd[failed])
        ends = _replaced(ends, failed, again)
        broken += list(again.error[again.error != ""])
        moments = [*_without(moments, failed), *(replace(moment, rows=failed[moment.rows]) for moment in more)]
    faults = tuple(Fault(reason, times) for reason, times in Counter([*broken, *engine.take_faults()]).items())
    return Lives(ends, _transitions(_without(moments, np.flatnonzero(ends.end == "failed")), crowd), faults)


def _live(engine: Engine, environment: EnvironmentConfig, crowd: _Crowd) -> tuple[Episodes, list[_Moment]]:
    """Live all episodes to their ends."""
    worlds = Worlds(environment, crowd.worlds)
    moments: list[_Moment] = []
    while len(worlds.living):
        view = worlds.look()
        if len(view.rows):
            moments.append(_live_one_step(engine, worlds, view, crowd, len(moments)))
    return _episodes(worlds, crowd.ids, crowd.worlds), moments


def _live_one_step(engine: Engine, worlds: Worlds, view: View, crowd: _Crowd, step: int) -> _Moment:
    """Let all who live decide and act; whose decision fails, fails."""
    luck = _luck(crowd.worlds, crowd.ids, step)[view.rows]
    decided, errors = decide_each(engine, crowd.seats[view.rows], list(view.text), luck)
    for row, error in zip(view.rows, errors, strict=True):
        if error:
            worlds.fail(int(row), f"engine: {error}")
    actions = np.zeros(len(crowd.ids), np.int64)
    actions[view.rows] = decided.actions
    worlds.act(lambda _, rows: actions[rows])
    return _Moment(
        rows=view.rows,
        step=step,
        observation=view.text,
        action=decided.actions,
        log_probability=decided.taken,
        vitals=view.vitals,
        alive=~worlds.died[view.rows],
        prompt_tokens=decided.prompt_tokens,
        answers=decided.answers,
    )


def live_scripted(environment: EnvironmentConfig, policy: Policy, seeds: Ints) -> Episodes:
    """Let a scripted policy live once on every seed; `policy` gets the batch and uniform numbers [n] from its seeds."""
    ids, seeds = np.full(len(seeds), -1, np.int64), np.asarray(seeds, np.int64)
    worlds, step = Worlds(environment, seeds), 0
    while len(worlds.living):
        luck = uniform(seeds, step, _DECISIONS)[:, 0]
        worlds.act(lambda env, rows: policy(env, luck[rows]))  # noqa: B023 - called at once
        step += 1
    return _episodes(worlds, ids, seeds)


def _luck(worlds: Ints, ids: Ints, step: int) -> NDArray[np.float64]:
    """Return the uniform number [n] of each decision."""
    keys = worlds + (ids + 1) * 2_862_933_555_777_941_757  # an odd constant: the pairs (world, agent) do not collide
    return uniform(keys, step, _DECISIONS)[:, 0]


def _episodes(worlds: Worlds, ids: Ints, seeds: Ints) -> Episodes:
    """Read the ends of all episodes."""
    end = np.where(worlds.died, "died", np.where(worlds.error != "", "failed", "outlived")).astype(object)
    return Episodes(ids, seeds, worlds.length, end, worlds.cause, worlds.error)


def _replaced(episodes: Episodes, rows: Ints, others: Episodes) -> Episodes:
    """Return the episodes with others in the places `rows`."""
    arrays = {field.name: getattr(episodes, field.name).copy() for field in fields(Episodes)}
    for name, values in arrays.items():
        values[rows] = getattr(others, name)
    return Episodes(**arrays)


def _without(moments: Sequence[_Moment], rows: Ints) -> list[_Moment]:
    """Return the moments without those of some episodes."""
    if not len(rows):
        return list(moments)
    kept = [(moment, ~np.isin(moment.rows, rows)) for moment in moments]
    return [
        replace(m, **{n: values[keep] for n, values in vars(m).items() if n != "step" and values is not None})
        for m, keep in kept
    ]


def _transitions(moments: Sequence[_Moment], crowd: _Crowd) -> Transitions:
    """Put the moments of all steps in the order of (episode, step)."""
    moments = list(moments) or [_NOTHING]
    rows = np.concatenate([m.rows for m in moments])
    step = np.concatenate([np.full(len(m.rows), m.step, np.int32) for m in moments])
    order = np.lexsort((step, rows))

    def gather(name: str) -> NDArray[Any]:
        """Put one field of all moments in order."""
        return np.asarray(np.concatenate([getattr(m, name) for m in moments])[order])

    alive = gather("alive")
    written = [m.answers for m in moments if m.answers is not None]  # a step that broke for all has none
    return Transitions(
        agent=crowd.ids[rows[order]],
        seed=crowd.worlds[rows[order]],
        step=step[order],
        observation=gather("observation"),
        action=gather("action").astype(np.int16),
        log_probability=gather("log_probability"),
        reward=alive.astype(np.float32),
        vitals=gather("vitals"),
        alive=alive,
        prompt_tokens=gather("prompt_tokens").astype(np.int32),
        answers=Answers.join(written)[order] if written else None,
    )
