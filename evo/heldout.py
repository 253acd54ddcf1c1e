"""The final table: random, frozen, evolved and expert on worlds that never selected or trained.

Owns what is compared with what. *Frozen* is generation 0 as it was born, its members taking turns over the worlds;
*evolved* is the algorithm's best genome. All four live in the same worlds, so the intervals are paired; a world in
which one of them failed is left out for all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo.records import HeldOut
from evo.report.statistics import score_interval
from fitness.agent import Agent
from fitness.environments.base import EnvironmentConfig, Ints, random_actions
from fitness.errors import EngineError
from fitness.records import Episodes, Fault
from fitness.rollout import Lives, live_scripted

Live = Callable[[Sequence[Agent], Ints], Lives]
"""Lets agents live on seeds [E], or [P, E] each on its own."""
_LEAST_WHOLE = 0.9
"""Share of the worlds that must be left: those that fail are not the same as those that do not."""


@dataclass(frozen=True)
class Measured:
    """What the held-out worlds showed."""

    table: tuple[tuple[str, HeldOut], ...]
    """By policy, in the order to show."""
    faults: tuple[Fault, ...]
    born: Lives
    """Of the founders."""
    bred: Lives
    """Of the best genome."""


def measure(
    live: Live, environment: EnvironmentConfig, frozen: Sequence[Agent], evolved: Agent, seeds: Ints,
    rng: np.random.Generator,
) -> Measured:  # fmt: skip
    """Live the held-out worlds and return the rows of the table.

    Args:
        live: lets frozen and evolved live, and checks what is recorded.
        environment: makes the worlds.
        frozen: P founders.
        evolved: the best genome's phenotype.
        seeds: held-out worlds, a multiple of P.
        rng: of the bootstrap.

    Raises:
        EngineError: in most worlds some policy failed: what is left is no fair sample.
    """
    turns = seeds.reshape(-1, len(frozen)).T
    born, bred = live(frozen, turns), live([evolved], seeds)
    lived = {
        "random": _lengths(live_scripted(environment, random_actions, seeds)),
        "frozen": _lengths(born.episodes).reshape(turns.shape).T.ravel(),
        "evolved": _lengths(bred.episodes),
        "expert": _lengths(live_scripted(environment, lambda env, _: env.expert_actions(), seeds)),
    }
    whole = np.asarray(~np.isnan(np.stack(list(lived.values()))).any(axis=0))
    if whole.mean() < _LEAST_WHOLE:
        reason = next((error for one in (born, bred) for error in one.episodes.error if error), "the environment")
        raise EngineError(
            f"heldout: expected worlds in which no policy failed, got {whole.sum()} of {len(whole)} (first: {reason})"
        )
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
    return Measured(tuple(table), (*born.faults, *bred.faults), born, bred)


def _lengths(episodes: Episodes) -> NDArray[np.float64]:
    """Return the lifespans [n], NaN where an episode failed."""
    return np.where(episodes.end == "failed", np.nan, episodes.length.astype(np.float64))
