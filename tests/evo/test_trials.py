"""Who is tried, in how many worlds, and what is known of those who were not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from evo.genome import Evaluation, Genome
from evo.lineage import Birth
from evo.novelty import known_of
from evo.racing import Racing
from evo.trials import Race, try_out, untested_copies
from fitness.objectives import Lifespan
from fitness.records import Episodes, Transitions
from fitness.rollout import Lives
from tests.evo.samples import GRAMMAR, genome

SEEDS = np.array([30, 10, 20, 50, 40, 70, 60, 80, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17])


class World:
    """Lets genomes live as long as their id says, and one step more in each later world; notes who lived where."""

    def __init__(self) -> None:
        self.lived: list[tuple[int, int]] = []

    def __call__(self, genomes: Sequence[Genome], seeds: NDArray[np.int64]) -> Lives:
        ids, worlds = np.repeat([one.id for one in genomes], len(seeds)), np.tile(seeds, len(genomes))
        self.lived += zip(ids.tolist(), worlds.tolist(), strict=True)
        length = (10 * ids + worlds % 3).astype(np.int32)
        same = np.full(len(ids), "", object)
        episodes = Episodes(ids, worlds, length, np.full(len(ids), "died", object), same, same)
        return Lives(episodes, _decisions(ids, worlds))


def _decisions(ids: NDArray[np.int64], worlds: NDArray[np.int64]) -> Transitions:
    """Return two decisions of each life."""
    ids, worlds, count = np.repeat(ids, 2), np.repeat(worlds, 2), 2 * len(ids)
    zeros = np.zeros(count, np.float32)
    steps, said = np.tile([0, 1], count // 2).astype(np.int32), np.full(count, "a", object)
    return Transitions(
        ids, worlds, steps, said, zeros.astype(np.int16), zeros, zeros, np.zeros((count, 1), np.float32),
        np.ones(count, bool), zeros.astype(np.int32),
    )  # fmt: skip


def test_copies_of_chance_are_not_tested_again() -> None:
    old, fresh = genome(1), genome(2)
    known = known_of([Birth.of(old, GRAMMAR, 0)])
    copy = replace(genome(1), id=7, operator="mutation", parents=(1,))
    twin = replace(genome(2), id=8, operator="crossover+mutation", parents=(1, 2))
    tuned = replace(genome(1), id=9, operator="finetune", parents=(1,))
    population = [old, replace(fresh, operator="mutation"), copy, twin, tuned]
    evaluations = {one.id: Evaluation() for one in population} | {1: Evaluation().merge([3.0, 4.0])}
    assert untested_copies(population, evaluations, known, GRAMMAR) == {7: 1, 8: 2}


def test_a_copy_has_the_lives_of_whom_it_copies_if_that_one_lived() -> None:
    world = World()
    tried = try_out([genome(i) for i in (1, 2, 3)], {2: 1, 3: 99}, SEEDS[:4], world, Lifespan())
    assert {id_ for id_, _ in world.lived} == {1}
    np.testing.assert_array_equal(tried.lifespans[2], tried.lifespans[1])
    assert np.isnan(tried.lifespans[3]).all()
    assert len(tried.lives.episodes) == 4


def test_a_race_costs_no_more_and_ends_with_the_best() -> None:
    world, population = World(), [genome(i) for i in (4, 8, 1, 7, 2, 6, 3, 5)]
    race = Race(Racing(keep=2), 4, {one.id: Evaluation() for one in population})
    worlds = sum(rung.worlds for rung in race.racing.plan(8, 4))
    tried = try_out(population, {}, SEEDS[:worlds], world, Lifespan(), race)
    assert len(world.lived) <= 8 * 4
    lives = {id_: int(np.count_nonzero(~np.isnan(values))) for id_, values in tried.lifespans.items()}
    assert lives[8] == lives[7] == worlds
    assert lives[1] < lives[6] < worlds
    assert all(len(values) == worlds for values in tried.lifespans.values())


def test_what_a_race_leaves_is_in_order_and_complete() -> None:
    world, population = World(), [genome(i) for i in (4, 8, 1, 7, 2, 6, 3, 5)]
    race = Race(Racing(keep=2), 4, {one.id: Evaluation() for one in population})
    worlds = sum(rung.worlds for rung in race.racing.plan(8, 4))
    tried = try_out(population, {}, SEEDS[:worlds], world, Lifespan(), race)
    episodes, made = tried.lives.episodes, tried.lives.transitions
    pairs = list(zip(episodes.agent.tolist(), episodes.seed.tolist(), strict=True))
    place = {one.id: i for i, one in enumerate(population)}
    assert pairs == sorted(world.lived, key=lambda pair: (place[pair[0]], pair[1]))
    keys = list(zip(made.agent.tolist(), made.seed.tolist(), made.step.tolist(), strict=True))
    assert keys == [(*pair, step) for pair in pairs for step in (0, 1)]
    for one in population:
        lived, there = tried.lifespans[one.id], np.isin(SEEDS[:worlds], episodes.seed[episodes.agent == one.id])
        np.testing.assert_array_equal(~np.isnan(lived), there)
    values = np.array([lived[~np.isnan(lived)].mean() for lived in tried.lifespans.values()])
    merits = 10 * np.array([one.id for one in population])
    np.testing.assert_allclose(values - merits, (values - merits)[0], atol=1e-3)  # the worlds' kindness is taken out


def test_child_and_parent_that_are_judged_run_together() -> None:
    world = World()
    population = [
        genome(9),
        *(genome(i) for i in (4, 8, 1, 7, 6, 3)),
        replace(genome(2), operator="finetune", parents=(9,)),
    ]
    race = Race(Racing(keep=2), 4, {one.id: Evaluation() for one in population})
    worlds = sum(rung.worlds for rung in race.racing.plan(8, 4))
    tried = try_out(population, {}, SEEDS[:worlds], world, Lifespan(), race)
    np.testing.assert_array_equal(np.isnan(tried.lifespans[2]), np.isnan(tried.lifespans[9]))


def test_if_all_are_copies_all_are_tested() -> None:
    population = [replace(genome(i), operator="mutation") for i in (1, 2)]
    known = known_of([Birth.of(replace(one, id=one.id - 1), GRAMMAR, 0) for one in (genome(1), genome(2))])
    assert untested_copies(population, {1: Evaluation(), 2: Evaluation()}, known, GRAMMAR) == {}


def test_a_race_that_nobody_ends_is_refused() -> None:
    with pytest.raises(ValueError, match="keep: expected an integer of at least 1, got 0"):
        Racing(keep=0)
