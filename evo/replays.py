"""Which lives of a run are kept to be looked at, step by step.

Owns the choice, all from held-out worlds, so that nothing in it was selected for: of the best genome a typical life,
its longest, and a typical death of each cause; of the founders a typical life, and deaths that the best one never dies.
*Typical* is the life of median length. Does not own how a life is lived again (`fitness.replay`). To keep another one,
add it to `choose`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fitness.agent import Agent
from fitness.engines.base import Engine
from fitness.environments.base import EnvironmentConfig, Ints
from fitness.errors import describe
from fitness.records import Fault, Replay
from fitness.replay import live_again
from fitness.rollout import Lives


@dataclass(frozen=True)
class Chosen:
    """A life to be kept."""

    title: str
    lives: Lives
    """Where it is recorded."""
    row: int
    """Of its episode."""


def choose(born: Lives, bred: Lives, causes: Sequence[str]) -> list[Chosen]:
    """Return the lives to keep, each once.

    Args:
        born: lives of the founders.
        bred: lives of the best genome.
        causes: what can be died of.
    """
    kept: dict[tuple[int, int], Chosen] = {}
    for one in _wanted(born, bred, causes):
        told = one.lives.episodes
        kept.setdefault((int(told.agent[one.row]), int(told.seed[one.row])), one)
    return list(kept.values())


def keep(
    engine: Engine, environment: EnvironmentConfig, agents: Sequence[Agent], chosen: Sequence[Chosen]
) -> tuple[list[Replay], list[Fault]]:
    """Return the chosen lives to be looked at; one that cannot be lived again is a fault and left out.

    Args:
        engine: has decided in them; its seats are taken.
        environment: makes the worlds.
        agents: all that lived.
        chosen: of `choose`.
    """
    by_id = {agent.id: agent for agent in agents}
    replays, faults = [], []
    for one in chosen:
        told = one.lives.episodes
        agent, seed = by_id[int(told.agent[one.row])], int(told.seed[one.row])
        try:
            replays.append(live_again(engine, environment, agent, one.lives, seed, one.title))
        except Exception as error:  # noqa: BLE001 - no picture is worth a run that has come to its end
            faults.append(Fault(f"replay of genome {agent.id} on seed {seed}: {describe(error)}", 1))
    return replays, faults


def _wanted(born: Lives, bred: Lives, causes: Sequence[str]) -> Iterator[Chosen]:
    """Yield lives worth a look, some of them more than once."""
    for name, lives in (("best genome", bred), ("a founder", born)):
        ended = np.flatnonzero(lives.episodes.end != "failed")
        if not len(ended):
            continue
        order = _by_length(lives, ended)
        yield Chosen(f"{name}: a typical life", lives, int(order[len(order) // 2]))
        if lives is bred:
            yield Chosen(f"{name}: its longest life", lives, int(order[-1]))
    met = set()
    for name, lives in (("best genome", bred), ("a founder", born)):
        for cause in causes:
            dead = _by_length(lives, np.flatnonzero(lives.episodes.cause == cause))
            if len(dead) and cause not in met:
                met.add(cause)
                yield Chosen(f"{name}: a typical death by {cause}", lives, int(dead[len(dead) // 2]))


def _by_length(lives: Lives, rows: Ints) -> Ints:
    """Return episodes in the order of their lengths."""
    return rows[np.argsort(lives.episodes.length[rows], kind="stable")]
