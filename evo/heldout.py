"""The final table: random, frozen, evolved and expert on worlds that never selected or trained.

Owns what is compared with what. *Frozen* is generation 0 as it was born, its members taking turns over the worlds;
*evolved* is the algorithm's best genome. All four live in the same worlds, so the intervals are paired; a world in
which one of them failed is left out for all.

`split` tells where the best genome's gain sits, if that is asked for: its prompt on the model as it is, a prompt that
nobody chose on its weights, both and neither, in the same worlds and with the same luck (all have its id).
"""

from collections.abc import Callable, Mapping, Sequence
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

Floats = NDArray[np.float64]
Rows = tuple[tuple[str, HeldOut], ...]
"""Policies by name."""
Live = Callable[[Sequence[Agent], Ints], Lives]
"""Lets agents live on seeds [E], or [P, E] each on its own."""
_LEAST_WHOLE = 0.9
"""Share of the worlds that must be left: those that fail are not the same as those that do not."""


@dataclass(frozen=True)
class Measured:
    """What the held-out worlds showed."""

    table: Rows
    """By policy, in the order to show."""
    faults: tuple[Fault, ...]
    born: Lives
    """Of the founders."""
    bred: Lives
    """Of the best genome."""
    lifespans: Mapping[str, Floats]
    """By policy [worlds], NaN where it failed."""


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
    table = _rows(lived, list(lived), (born, bred), rng)
    return Measured(table, (*born.faults, *bred.faults), born, bred, lived)


def split(
    live: Live, parts: Mapping[str, Agent], seeds: Ints, measured: Measured, rng: np.random.Generator
) -> tuple[Rows, tuple[Fault, ...]]:
    """Return the rows of a best genome's parts in the worlds of the final table, and what broke.

    Parts that are the same agent (its weights were never changed, say) have the same lives, which are lived once.

    Args:
        live: as for `measure`.
        parts: by name, in the order to show; `both` is the best genome, all have its id.
        seeds: as for `measure`.
        measured: the final table's lives.
        rng: of the bootstrap.

    Raises:
        EngineError: in most worlds some part failed.
    """
    known = {_mark(parts["both"]): measured.bred}
    for part in parts.values():
        if _mark(part) not in known:
            known[_mark(part)] = live([part], seeds)
    lived = {**measured.lifespans, **{name: _lengths(known[_mark(part)].episodes) for name, part in parts.items()}}
    faults = tuple(fault for lives in list(known.values())[1:] for fault in lives.faults)
    return _rows(lived, list(parts), list(known.values()), rng), faults


def _mark(agent: Agent) -> tuple[str, str]:
    """Return what is the same for agents that decide alike."""
    return agent.strategy, agent.adapter.digest()


def _rows(lived: Mapping[str, Floats], shown: Sequence[str], lives: Sequence[Lives], rng: np.random.Generator) -> Rows:
    """Return a row for each policy that is shown, over the worlds in which none at all failed."""
    whole = np.asarray(~np.isnan(np.stack(list(lived.values()))).any(axis=0))
    if whole.mean() < _LEAST_WHOLE:
        reason = next((error for one in lives for error in one.episodes.error if error), "the environment")
        raise EngineError(
            f"heldout: expected worlds in which no policy failed, got {whole.sum()} of {len(whole)} (first: {reason})"
        )
    kept = {name: lengths[whole] for name, lengths in lived.items()}
    rows = []
    for name in shown:
        score, low, high = score_interval(kept[name], kept["random"], kept["expert"], rng)
        lifespan, episodes = float(kept[name].mean()), len(kept[name])
        rows.append((name, HeldOut(score=score, ci=(low, high), lifespan=lifespan, episodes=episodes)))
    return tuple(rows)


def _lengths(episodes: Episodes) -> Floats:
    """Return the lifespans [n], NaN where an episode failed."""
    return np.where(episodes.end == "failed", np.nan, episodes.length.astype(np.float64))
