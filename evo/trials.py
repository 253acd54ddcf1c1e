"""How a generation is tried: which genomes live at all, and in how many worlds.

Owns the gate in front of evaluation (a copy of what is known is not tested again) and the race (who is beaten already
lives no longer). What comes out is as if all had been asked: lifespans of everybody, NaN where nothing was lived; after
a race, with what a world is worth taken out, since not all lived in the same. Does not own how agents live
(`fitness.rollout`), what a copy is (`evo.novelty`) or who is beaten (`evo.racing`).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo.genome import Evaluation, Genome
from evo.noise import adjusted_means
from evo.novelty import sift
from evo.racing import Racing, advance
from fitness.environments.base import Ints
from fitness.environments.grammar import Grammar
from fitness.objectives import Objective
from fitness.records import Fault, joined_episodes, joined_transitions
from fitness.rollout import Lives

_GATED = frozenset({"founder", "mutation", "crossover+mutation", "halves+mutation"})
"""Births of chance, which may come twice; whatever an algorithm makes on purpose is tested whenever it asks."""

_JUDGED = frozenset({"finetune", "reflection"})
"""Births that are judged beside their parent, in worlds that both lived in."""

_LOOSE = 1e-6
"""Lives that a prior counts as where none is wanted."""

Live = Callable[[Sequence[Genome], Ints], Lives]
"""Lets genomes live once in every world of [S] seeds."""


@dataclass(frozen=True)
class Tried:
    """What is known of a generation."""

    lives: Lives
    """Of those who lived."""
    lifespans: Mapping[int, NDArray[np.float64]]
    """Genome id -> [S] of everybody, after a race as in worlds of the same kindness; NaN for worlds in which it did not
    live, or its episode failed."""
    copies: Mapping[int, int]
    """Id of each genome that was not tested -> whose copy it is; it has that one's lives, if that one lived now."""


def untested_copies(
    population: Sequence[Genome], evaluations: Mapping[int, Evaluation], known: Mapping[str, int], grammar: Grammar
) -> Mapping[int, int]:
    """Return who need not be tested -> whose copy it is; nobody if all are copies, for somebody must live.

    Args:
        population: all that an algorithm asked for.
        evaluations: what is known of each of them; who was tested before is tested again.
        known: fingerprints of all genomes before.
        grammar: what strategies are made of.
    """
    again = {one.id for one in population if one.operator not in _GATED or evaluations[one.id].count}
    twins = {twin: source for twin, source in sift(population, known, grammar, again).twins.items() if twin != source}
    return twins if len(twins) < len(population) else {}


def try_out(
    genomes: Sequence[Genome],
    copies: Mapping[int, int],
    seeds: Ints,
    live: Live,
    objective: Objective,
    race: "Race | None" = None,
) -> Tried:
    """Let genomes live, and put together what is known of all of them.

    Args:
        genomes: the population.
        copies: who is not tested -> whose copy it is.
        seeds: [S] worlds, the same for all; with a race, as many as its last rung has come to.
        live: lets some of them live.
        objective: makes numbers of episodes.
        race: None for everybody in every world.
    """
    tested = [one for one in genomes if one.id not in copies]
    if race is None:
        lives = live(tested, seeds)
        lived = _matrix(tested, lives, objective)
    else:
        lives, lived = _race(tested, seeds, live, objective, race)
    known = {one.id: row for one, row in zip(tested, lived, strict=True)}
    nothing = np.full(len(seeds), np.nan)
    return Tried(lives, known | {twin: known.get(source, nothing) for twin, source in copies.items()}, copies)


@dataclass(frozen=True)
class Race:
    """A race, and what is known of those who run."""

    racing: Racing
    worlds: int
    """That every genome could live in at the same cost without a race."""
    evaluations: Mapping[int, Evaluation]
    """Of everybody, before this generation."""


def _race(
    genomes: Sequence[Genome], seeds: Ints, live: Live, objective: Objective, race: Race
) -> tuple[Lives, NDArray[np.float64]]:
    """Let the doubtful live in more worlds than the hopeless."""
    known = [race.evaluations[one.id] for one in genomes]
    prior = np.array([one.mean if one.count else np.nan for one in known])
    weight = np.array([float(one.count or race.racing.newcomer) for one in known])
    lived, alive, legs = np.full((len(genomes), len(seeds)), np.nan), np.ones(len(genomes), bool), []
    scores, first = np.zeros(len(genomes)), 0
    for number, rung in enumerate(race.racing.plan(len(genomes), race.worlds)):
        if number:
            going = advance(lived[:, :first], scores, alive, rung.genomes, race.racing.kept(len(genomes)))
            alive = _together(genomes, going) & alive
        running = [one for one, runs in zip(genomes, alive, strict=True) if runs]
        legs.append(live(running, seeds[first : first + rung.worlds]))
        lived[alive, first : first + rung.worlds] = _matrix(running, legs[-1], objective)
        first += rung.worlds
        if not np.isnan(lived[:, :first]).all():
            scores = adjusted_means(lived[:, :first], prior, weight)
    return _joined(legs, [one.id for one in genomes]), _without_worlds(lived)


def _together(genomes: Sequence[Genome], going: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return [G] who goes on if child and parent of a pair under judgement go together."""
    place = {one.id: i for i, one in enumerate(genomes)}
    together = going.copy()
    for i, one in enumerate(genomes):
        if one.operator in _JUDGED and one.parents and one.parents[0] in place:
            pair = [i, place[one.parents[0]]]
            together[pair] = going[pair].any()
    return together


def _without_worlds(lived: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [G, S] lifespans as in worlds of the same kindness, for not all lived in the same.

    What a world is worth is how much longer those who lived in it did so than they do on the whole (least squares).
    """
    there = ~np.isnan(lived)
    if not there.any():
        return lived
    values = adjusted_means(lived, np.full(len(lived), np.nan), np.full(len(lived), _LOOSE))
    counts = there.sum(axis=0)
    worth = np.where(there, lived - values[:, None], 0.0).sum(axis=0) / np.maximum(counts, 1)
    level = (worth * counts).sum() / counts.sum()
    return lived - np.where(counts > 0, worth - level, 0.0)


def _matrix(genomes: Sequence[Genome], lives: Lives, objective: Objective) -> NDArray[np.float64]:
    """Return what the episodes were worth, [genomes, S], NaN where one failed."""
    values = objective.by_agent(lives.episodes)
    return np.array([values[one.id] for one in genomes])


def _joined(legs: Sequence[Lives], agents: Sequence[int]) -> Lives:
    """Return several rollouts as one, in the order of (agent, seed, step)."""
    counted: Counter[str] = Counter()
    for leg in legs:
        counted.update({fault.reason: fault.times for fault in leg.faults})
    return Lives(
        joined_episodes([leg.episodes for leg in legs], agents),
        joined_transitions([leg.transitions for leg in legs], agents),
        tuple(Fault(reason, times) for reason, times in counted.items()),
    )
