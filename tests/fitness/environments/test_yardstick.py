"""The calibration of forage: chance dies early, obedience reaches half way, only the hidden rules lead further.

Score = (mean lifespan - random) / (expert - random). Strategies are searched on some worlds and measured on others;
whatever is compared lives on the same worlds.
"""

import itertools
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitness.environments.base import Ints, TextVectorEnv
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from fitness.environments.forage.percept import Percept
from fitness.environments.forage.policies import GRAMMAR, Traits, obey
from fitness.environments.forage.world import AUTUMN, BLUE, DUSK, NIGHT, RED
from fitness.objectives import Yardstick
from fitness.rollout import live_scripted

FOREST = ForageConfig()
FRESH = np.arange(50_000, 51_024)
ROUNDS = ((0, 6, 32), (1_000, 64, 4), (2_000, 256, 1))
"""(first seed, episodes, strategies kept) of the search."""
TOPPED_UP = "ignore wolves. eat when good. drink when fair. den at night. water first. search north. then roam."


def knowing(seen: Percept, *rules: str) -> Percept:
    """Return the views of who knows hidden rules: poison is no food to it, and dusk is time to be in a den."""
    colour = seen.berry_colour
    if "red" in rules:
        colour = np.where(colour == RED, -1, colour)
    if "blue" in rules:
        colour = np.where((colour == BLUE) & (seen.season == AUTUMN)[:, None], -1, colour)
    time = np.where(seen.time == DUSK, NIGHT, seen.time) if "dusk" in rules else seen.time
    return replace(seen, berry_colour=colour, time=time)


def lifespans(clauses: Ints, seeds: Ints, *rules: str) -> NDArray[np.float64]:
    """Return lifespans [s, e] of s strategies, as clause indices [s, 7], on e worlds each."""
    traits = Traits(np.repeat(clauses, len(seeds), axis=0))

    def policy(env: TextVectorEnv, _: NDArray[np.float64]) -> Ints:
        assert isinstance(env, ForageVectorEnv)
        return obey(traits, knowing(env.percept(), *rules))

    lengths = live_scripted(FOREST, policy, np.tile(seeds, len(clauses))).length
    return lengths.reshape(len(clauses), len(seeds)).astype(np.float64)


def strategies() -> Ints:
    """Return all strategies that search north; the world has no directions, so the others live alike."""
    choices = [range(1 if slot.name == "search" else len(slot.clauses)) for slot in GRAMMAR.slots]
    return np.array(list(itertools.product(*choices)))


@cache
def best_told() -> tuple[int, ...]:
    """Return the strategy of the grammar that lives longest without the hidden rules."""
    pool = strategies()
    for first, episodes, kept in ROUNDS:
        means = lifespans(pool, np.arange(first, first + episodes)).mean(axis=1)
        pool = pool[np.argsort(-means)[:kept]]
    return tuple(pool[0].tolist())


@cache
def yardstick() -> Yardstick:
    return Yardstick.measure(FOREST, FRESH)


@cache
def score(clauses: tuple[int, ...], *rules: str) -> float:
    return yardstick().score(lifespans(np.array([clauses]), FRESH, *rules).mean())


def test_chance_dies_early() -> None:
    assert yardstick().random < 0.25 * FOREST.horizon


def test_the_expert_lives_most_of_the_horizon() -> None:
    assert yardstick().expert >= 0.8 * FOREST.horizon


def test_the_best_told_strategy_reaches_about_half() -> None:
    assert 0.38 <= score(best_told()) <= 0.6


def test_the_arm_of_expert_rules_is_told_the_best_told_strategy() -> None:
    text = GRAMMAR.render(tuple(slot.clauses[i] for slot, i in zip(GRAMMAR.slots, best_told(), strict=True)))
    assert f'["{text}"]' in Path("conf/experiment/ablation/expert_rules.yaml").read_text()


def test_each_colour_that_is_known_to_kill_helps_the_best_told_strategy() -> None:
    told, red, both = (score(best_told(), *rules) for rules in ((), ("red",), ("red", "blue")))
    assert red > told + 0.15
    assert both > red + 0.02


def test_knowing_what_a_night_needs_helps_who_keeps_itself_fed() -> None:
    """The hour of dusk in the den is paid with hunger: the third rule is worth its price to a careful eater."""
    traits = Traits.of([GRAMMAR.parse(TOPPED_UP)])
    clauses = tuple(traits.clauses[0].tolist())
    colours, all_three = (score(clauses, *rules) for rules in (("red", "blue"), ("red", "blue", "dusk")))
    assert all_three > colours
    assert all_three > score(best_told()) + 0.3


def test_strategies_alone_differ_widely() -> None:
    """What is told matters: there is something for the choice of clauses to win."""
    rng = np.random.default_rng(0)
    pool = strategies()[rng.choice(576, 64, replace=False)]
    means = [yardstick().score(mean) for mean in lifespans(pool, np.arange(3_000, 3_016)).mean(axis=1)]
    assert np.median(means) < 0.25
    assert score(best_told()) > np.median(means) + 0.15
