"""The final table: random, frozen, evolved and expert on worlds that never selected or trained.

Owns what is compared with what. *Frozen* is generation 0 as it was born, its members taking turns over the worlds;
*evolved* is the algorithm's best genome. All four live in the same worlds, so the intervals are paired; a world in
which one of them failed is left out for all.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evo.records import HeldOut
from evo.report.statistics import score_interval
from fitness.agent import Agent
from fitness.engines.base import Engine
from fitness.environments.base import EnvironmentConfig, Ints, random_actions
from fitness.errors import EngineError
from fitness.records import Episodes
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
        "random": _lengths(live_scripted(environment, random_actions, seeds)),
        "frozen": _lengths(roll_out(engine, environment, frozen, turns).episodes).reshape(turns.shape).T.ravel(),
        "evolved": _lengths(roll_out(engine, environment, [evolved], seeds).episodes),
        "expert": _lengths(live_scripted(environment, lambda env, _: env.expert_actions(), seeds)),
    }
    whole = ~np.isnan(np.stack(list(lived.values()))).any(axis=0)
    if not whole.any():
        raise EngineError("heldout: expected worlds in which no policy failed, got none")
    lived = {name: lengths[whole] for name, lengths in lived.items()}
    table = []
    for name, lengths in lived.items():
        interval = score_interval(lengths, lived["random"], lived["expert"], rng)
        mean = float(lengths.mean())
        table.append(
            (
                name,
                HeldOut(score=interval.value, ci=(interval.low, interval.high), lifespan=mean, episodes=len(lengths)),
            )
        )
    return tuple(table)


def _lengths(episodes: Episodes) -> NDArray[np.float64]:
    """Return the lifespans [n], NaN where an episode failed."""
    return np.where(episodes.end == "failed", np.nan, episodes.length.astype(np.float64))
