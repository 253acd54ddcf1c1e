"""The final table: random, frozen, evolved and expert on worlds that never selected or trained.

Owns what is compared with what. *Frozen* is generation 0 as it was born, its members taking turns over the worlds;
*evolved* is the algorithm's best genome. All four live in the same worlds, so the intervals are paired.
"""

from collections.abc import Sequence

import numpy as np

from evo.records import HeldOut
from evo.report.statistics import score_interval
from fitness.agent import Agent
from fitness.engines.base import Engine
from fitness.environments.base import EnvironmentConfig, Ints, random_actions
from fitness.rollout import live_scripted, roll_out


def measure(
    engine: Engine, environment: EnvironmentConfig, frozen: Sequence[Agent], evolved: Agent, seeds: Ints,
    rng: np.random.Generator,
) -> tuple[tuple[str, HeldOut], ...]:  # fmt: skip
    """Return the rows of the table.

    Args:
        engine: decides for frozen and evolved.
        environment: makes the worlds.
        frozen: P founders.
        evolved: the best genome's phenotype.
        seeds: held-out worlds, a multiple of P.
        rng: of the bootstrap.
    """
    turns = seeds.reshape(-1, len(frozen)).T
    lived = {
        "random": live_scripted(environment, random_actions, seeds).length,
        "frozen": roll_out(engine, environment, frozen, turns).episodes.length.reshape(turns.shape).T.ravel(),
        "evolved": roll_out(engine, environment, [evolved], seeds).episodes.length,
        "expert": live_scripted(environment, lambda env, _: env.expert_actions(), seeds).length,
    }
    table = []
    for name, lengths in lived.items():
        interval = score_interval(lengths, lived["random"], lived["expert"], rng)
        mean = float(lengths.mean())
        table.append(
            (name, HeldOut(score=interval.value, ci=(interval.low, interval.high), lifespan=mean, episodes=len(seeds)))
        )
    return tuple(table)
